"""Write the golden outputs: run it only after the recorded outputs of the published system were reproduced.

python -m tests.golden.make
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from fcclip import Vocabulary
from tests.seeded import seed_by_name
from tests.tiny import tiny_model

FOLDER = Path(__file__).parent
WORDS = "person,people; sky,clouds=stuff; traffic cone; sea,ocean,water=stuff; zebra"
OUTPUT = (60, 77)


def compute(kind: str) -> dict[str, Tensor]:
    """Text rows, head outputs and results of the tiny model of one kind, its weights seeded by name."""
    model = tiny_model(kind, MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD=0.05, TEST__DETECTIONS_PER_IMAGE=10)
    seed_by_name(model)
    model.set_vocabulary(Vocabulary.from_string(WORDS))
    image = torch.randint(0, 256, (3, 90, 110), generator=torch.Generator().manual_seed(5)).float()
    inputs = {"image": image, "height": OUTPUT[0], "width": OUTPUT[1]}
    result = model([inputs])[0]
    with torch.no_grad():
        (encoded,) = model.encode([inputs])
        text = model._with_void(model.vocabularies.test(model.device))
        class_logits = model.sem_seg_head.classify(encoded.decoded.mask_embeddings, text)
    instances = result["instances"]
    order = instances.scores.argsort()
    return {
        "text": model.vocabularies.test(model.device).text.embeddings,
        "pred_logits": class_logits,
        "pred_masks": encoded.decoded.mask_logits,
        "sem_seg": result["sem_seg"],
        "panoptic_seg": result["panoptic_seg"][0],
        "segment_classes": torch.tensor([segment["category_id"] for segment in result["panoptic_seg"][1]]),
        "scores": instances.scores[order],
        "boxes": instances.pred_boxes.tensor[order],
    }


if __name__ == "__main__":
    for kind in ("convnext", "resnet"):
        save_file({name: x.contiguous() for name, x in compute(kind).items()}, FOLDER / f"tiny_{kind}.safetensors")
