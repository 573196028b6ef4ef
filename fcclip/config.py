"""Every configuration key that this project adds to Detectron2's, each with one line of meaning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.config import get_cfg as get_detectron2_cfg
from detectron2.projects.deeplab import add_deeplab_config

from fcclip.files.config_checks import CHOICES, DTYPE_NAMES, require_device, validate
from fcclip.files.config_node import ConfigError, SafeNode, make_safe
from fcclip.files.folders import find_config
from fcclip.files.processor import multiplies_in_8_bits, multiplies_in_half

# CLIP's own image statistics, times 255 (RGB): the pixel values every CLIP backbone expects.
CLIP_PIXEL_MEAN = (122.7709383, 116.7460125, 104.09373615)
CLIP_PIXEL_STD = (68.5005327, 66.6321579, 70.32316305)


def fast_options(device: str) -> tuple[str, ...]:
    """Keys and values of inference at a small loss of precision, in what a device ("cpu", "cuda:0") is fast in."""
    precision = "bfloat16"
    if device == "cpu" and not multiplies_in_half():
        precision = "int8" if multiplies_in_8_bits() else "float32"
    return ("MODEL.FC_CLIP.INFERENCE_DTYPE", precision, "MODEL.FC_CLIP.CHANNELS_LAST", "True")


class ConfigNode(SafeNode):
    """The configuration of this project; `get_cfg` makes one."""

    choices = CHOICES


def get_cfg() -> CfgNode:
    """Detectron2's defaults plus every key of this project; the published YAML files merge into it unchanged.

    Its `merge_from_file` takes files as data: see `fcclip.files.config_node.SafeNode`.

    Examples:
        >>> cfg = get_cfg()
        >>> cfg.merge_from_list(["MODEL.FC_CLIP.TEST_CHUNK_MB", "16"])
        >>> cfg.MODEL.FC_CLIP.TEST_CHUNK_MB
        16
    """
    cfg = get_detectron2_cfg()
    add_deeplab_config(cfg)
    add_maskformer2_config(cfg)
    add_fcclip_config(cfg)
    return cfg


def load_cfg(config_file: str | Path, opts: Sequence[str] = ()) -> CfgNode:
    """The defaults, changed by a file and then by options.

    Args:
        config_file: a YAML file, or the path of one in configs/ from any folder.
        opts: keys and values in turn, such as `("INPUT.MIN_SIZE_TEST", "640")`.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: a key is unknown, or a value does not fit its key; one sentence.
    """
    cfg = get_cfg()
    cfg.merge_from_file(find_config(config_file))
    cfg.merge_from_list(list(opts))
    validate(cfg)
    return cfg


def load_inference_cfg(
    config_file: str | Path,
    opts: Sequence[str] = (),
    weights: str | Path | None = None,
    device: str | None = None,
    random_weights: bool = False,
    fast: bool = False,
) -> CfgNode:
    """The frozen configuration of a model that is not trained; arguments and errors as in `Segmenter.from_config`."""
    settings = ["MODEL.FC_CLIP.RELEASE_TEXT_TOWER", "True"]  # files may be those of trainings
    if random_weights:
        settings += ["MODEL.WEIGHTS", "", "MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS", ""]
        settings += ["MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS", "True"]
    cfg = load_cfg(config_file, [*settings, *opts])
    chosen = _choose_device(device or cfg.MODEL.DEVICE, required=device is not None)
    if fast:
        cfg = load_cfg(config_file, [*settings, *fast_options(chosen), *opts])
    if weights is not None and "MODEL.WEIGHTS" in opts[::2]:
        raise ConfigError("the weights are given twice, by the model's name and by MODEL.WEIGHTS; leave one out")
    if weights is not None:
        cfg.MODEL.WEIGHTS = str(weights)
    cfg.MODEL.DEVICE = chosen
    cfg.freeze()
    return cfg


def _choose_device(device: str, required: bool) -> str:
    """The device, or the CPU where a merely configured GPU is not there."""
    require_device("the device", device)
    if not device.startswith("cuda") or torch.cuda.is_available():
        return device
    if required:
        raise ValueError(f'this machine has no CUDA GPU that PyTorch can use, so the device cannot be "{device}"')
    return "cpu"


def add_maskformer2_config(cfg: CfgNode) -> None:
    """Add the keys of the mask generator (pixel decoder, masked transformer decoder, criterion) and its data."""
    _add_input_keys(cfg)
    _add_solver_keys(cfg)
    _add_mask_former_keys(cfg)
    _add_sem_seg_head_keys(cfg)
    _add_swin_keys(cfg)


def add_fcclip_config(cfg: CfgNode) -> None:
    """Add the keys of FC-CLIP: which CLIP, how its two classifiers are joined, and which names are given to it.

    From then on the node reads files as data, like that of `get_cfg`.
    """
    node = cfg.MODEL.FC_CLIP = CfgNode()
    node.CLIP_MODEL_NAME = "convnext_large_d_320"  # open_clip's name of the model
    # open_clip tag, a local .pt / .bin / .safetensors file, "hf-hub:ORG/NAME", or "" (random; see ALLOW_RANDOM_WEIGHTS)
    node.CLIP_PRETRAINED_WEIGHTS = "laion2b_s29b_b131k_ft_soup"
    node.EMBED_DIM = 768  # width of the joint embedding; must equal that of CLIP's text projection
    node.GEOMETRIC_ENSEMBLE_ALPHA = 0.4  # exponent of the out-of-vocabulary classifier on classes seen in training
    node.GEOMETRIC_ENSEMBLE_BETA = 0.8  # the same on classes not seen in training
    node.ENSEMBLE_ON_VALID_MASK = False  # ask CLIP only about queries with a positive pixel at stride 32
    node.ALLOW_RANDOM_WEIGHTS = False  # without it, a model whose CLIP or head was not loaded refuses to run
    node.TEMPLATES = ""  # file of prompts, one per line, with {} for the name; "": the 14 published ones
    # folder of vocabulary files (id:name,synonym,...) used instead of the shipped ones, or "published" (fetched once)
    node.VOCABULARY_DIR = ""
    node.TEXT_CACHE = True  # keep text embeddings on disk ($FCCLIP_CACHE, else the user's cache folder)
    node.RELEASE_TEXT_TOWER = False  # free its memory, also a GPU's, while no names are encoded (the Segmenter: True)
    node.INFERENCE_DTYPE = "float32"  # float32, bfloat16, float16 or int8: precision at inference (see fcclip.speed)
    node.TEST_CHUNK_MB = 8  # MiB of upsampled masks, and of class scores, that are held at a time at inference
    node.TEST_CHUNK_MB_GPU = 256  # the same on a GPU, where every go costs its launches however small it is
    node.CHANNELS_LAST = False  # memory layout of the image tower at inference
    node.TRAINING_TOWER_DTYPE = "float32"  # float32 (as SOLVER.AMP says), bfloat16 or float16 (CUDA only), in training
    node.COMPILE = False  # torch.compile the network at inference, anew for each padded image size
    node.CUDA_GRAPHS = False  # GPUs: launch the network at once, recorded anew for each padded image size
    cfg.MODEL.SEM_SEG_HEAD.DEFORMABLE_ATTENTION = "auto"  # auto | torch | native | triton: INSTALL.md
    # compute the layers of the pixel decoder's transformer again in the backward pass instead of keeping what they hold
    cfg.MODEL.SEM_SEG_HEAD.ACTIVATION_CHECKPOINTING = False
    _add_training_keys(cfg)
    _add_evaluation_keys(cfg)
    _add_tracking_keys(cfg)
    _add_dataset_keys(cfg)
    _add_zero_shot_keys(cfg)
    _add_mask_adapter_keys(cfg)
    _add_tuned_clip_keys(cfg)
    make_safe(cfg, ConfigNode)


def _add_input_keys(cfg: CfgNode) -> None:
    cfg.INPUT.DATASET_MAPPER_NAME = "mask_former_semantic"  # which mapper prepares training images
    cfg.INPUT.COLOR_AUG_SSD = False  # colour jitter of SSD (mask_former_* mappers)
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0  # a crop is redrawn if one class covers more of it than this
    cfg.INPUT.SIZE_DIVISIBILITY = -1  # > 0: pad training images to this fixed square (mask_former_* mappers)
    cfg.INPUT.IMAGE_SIZE = 1024  # side of the square crop of the large-scale-jitter mappers
    cfg.INPUT.DISTORT_COLORS = True  # change brightness, contrast, saturation and hue at random (zero_shot mapper)
    cfg.INPUT.MIN_SCALE = 0.1  # smallest scale of large-scale jitter
    cfg.INPUT.MAX_SCALE = 2.0  # largest scale of large-scale jitter


def _add_solver_keys(cfg: CfgNode) -> None:
    cfg.SOLVER.OPTIMIZER = "ADAMW"  # ADAMW or SGD
    cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.0  # weight decay of nn.Embedding parameters
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.1  # learning-rate factor of trainable backbone parameters


def _add_training_keys(cfg: CfgNode) -> None:
    cfg.INPUT.DROP_VANISHED_SEGMENTS = False  # leave out segments that a crop does not show (published: empty masks)
    cfg.SOLVER.ACCUMULATION_STEPS = 1  # forward passes among which the IMS_PER_BATCH images of a step are divided
    cfg.SOLVER.FUSED_ADAMW = False  # update all weights in one kernel: equal to the plain update up to rounding
    cfg.SOLVER.AMP.DTYPE = "float16"  # float16 (CUDA only) or bfloat16, where AMP.ENABLED
    cfg.INPUT.RESIZING_TEST = "pillow"  # library that resizes test images: pillow, or opencv (no averaging)
    cfg.SOLVER.LEAST_LR = 1e-6  # rate at which LR_SCHEDULER_NAME WarmupPolyToLeastLR ends
    cfg.SOLVER.LOG_PERIOD = 20  # iterations from one line of the log to the next
    cfg.SOLVER.BEST_CHECKPOINT = CfgNode()
    cfg.SOLVER.BEST_CHECKPOINT.METRIC = ""  # e.g. "panoptic_seg/PQ": keep model_best.pth by it; "": do not
    cfg.SOLVER.BEST_CHECKPOINT.DATASET = ""  # the test set whose metric decides; "": the first of DATASETS.TEST
    cfg.SOLVER.BEST_CHECKPOINT.MODE = "max"  # max or min
    cfg.WANDB = CfgNode()
    cfg.WANDB.ENABLED = False  # log to Weights & Biases too (package wandb)
    cfg.WANDB.PROJECT = "fcclip"  # its project
    cfg.WANDB.NAME = ""  # name of the run; "": the last folder of OUTPUT_DIR


def _add_dataset_keys(cfg: CfgNode) -> None:
    cfg.DATASETS.CUSTOM = []  # datasets of one's own: a list of mappings NAME, FORMAT, ... (docs/datasets.md)


def _add_evaluation_keys(cfg: CfgNode) -> None:
    cfg.TEST.RESUME = True  # an interrupted evaluation of the same model goes on from the images it had finished
    cfg.TEST.PANOPTIC_EXPORT = False  # also write panoptic predictions as COCO panoptic PNGs and JSON
    cfg.TEST.SEMANTIC_EXPORT = False  # also write semantic predictions, one label map per image
    cfg.TEST.INSTANCE_EXPORT = False  # also write instances as a JSON file in COCO's format of results
    cfg.TEST.PANOPTIC_SCORER = "memory"  # memory, or panopticapi, which must be installed and reads the exported files
    cfg.TEST.PLOTS = True  # draw bars of all classes, confusions of the worst, and a page of the worst images
    cfg.TEST.WORST_IMAGES = 20  # images on that page


def _add_tracking_keys(cfg: CfgNode) -> None:
    """Keys of `Segmenter.track`; thresholds were measured on the built-in world (docs/video.md)."""
    node = cfg.MODEL.TRACKING = CfgNode()
    node.MEMORY_FRAMES = 9  # frames that queries are matched with
    node.MEMORY_VOTES = 5  # of those, the ones that fit best decide together; 1 and 1 frame: the last frame (MinVIS)
    node.VOTE_DECAY = 1.0  # weight of the past in the votes for classes; 1: the plain mean over the shot
    node.KEEP_FRAMES = 30  # a query that was void for so long forgets its votes
    node.CUT_COSINE = 0.87  # a cut: the mean cosine to the last frame is below this,
    node.CUT_DROP = 0.08  # and so much below the median of the shot
    node.ACCEPT_COSINE = 0.5  # least cosine at which an object goes on
    node.REVIVE_COSINE = 0.6  # least cosine at which one that was away is recognised,
    node.REVIVE_MARGIN = 0.1  # and by how much it must be ahead of the next best
    node.MAX_TRACKS = 200  # objects that are remembered
    _add_video_keys(cfg)


def _add_video_keys(cfg: CfgNode) -> None:
    """Keys of MinVIS_OV, and those that published files of DVIS_Plus set, so that these merge."""
    node = cfg.MODEL.MASK_FORMER.TEST
    node.TASK = "vis"  # MinVIS_OV: vps (panoptic), vis (instances) or vss (semantic)
    node.WINDOW_INFERENCE = False  # frames go through the network a window at a time; results are the same
    node.WINDOW_SIZE = 3  # frames of a window
    node.KEEP_MASKS = True  # False: run the network twice instead of holding the masks of the whole video
    node.NUM_FRAME = 1  # frames that queries are matched with; CLIP-VIS: 9
    node.NUM_TOPK = 1  # of those, the ones that fit best decide together; CLIP-VIS: 5
    node.MAX_NUM = 20  # unused: MinVIS_OV gives 10 instances; published files set it
    cfg.MODEL.FC_CLIP.VOID_MERGE_MODE = "coco"  # several training sets: "coco" (void of the first), "mean" or "max"
    # names of training that were not asked for count as void: fewer false finds, and far fewer true ones
    cfg.MODEL.FC_CLIP.ALL_VOCABULARY_VOID = False
    cfg.MODEL.MASK_FORMER.REID_BRANCH = True  # unused; published files set it
    for name in ("TRACKER", "REFINER", "CL_PLUGIN"):  # unused; of trained models
        cfg.MODEL[name] = CfgNode(new_allowed=True)
    cfg.INPUT.SAMPLING_FRAME_NUM = 2  # unused; training on videos
    cfg.INPUT.SAMPLING_FRAME_RANGE = 20  # unused; training on videos
    cfg.INPUT.SAMPLING_FRAME_SHUFFLE = False  # unused; training on videos
    cfg.INPUT.SAMPLING_FRAME_RATIO = 1.0  # unused; training on videos
    cfg.INPUT.AUGMENTATIONS = []  # unused; training on videos
    cfg.DATASETS.OV = True  # unused; published files set it
    cfg.DATASETS.TEST2TRAIN = [None]  # unused; published files set it
    cfg.DATASETS.DATASET_RATIO = [1.0]  # unused; training on several datasets
    cfg.DATASETS.DATASET_NEED_MAP = [False]  # unused; training on several datasets
    cfg.DATASETS.DATASET_TYPE = ["video_instance"]  # unused; a dataset's metadata says what it is
    cfg.DATASETS.DATASET_TYPE_TEST = ["video_instance"]  # unused; a dataset's metadata says what it is


def _add_mask_former_keys(cfg: CfgNode) -> None:
    node = cfg.MODEL.MASK_FORMER = CfgNode()
    node.DEEP_SUPERVISION = True  # losses on the outputs of every decoder layer
    node.NO_OBJECT_WEIGHT = 0.1  # weight of the void class in the classification loss
    node.CLASS_WEIGHT = 1.0  # weight of the classification loss and matching cost
    node.DICE_WEIGHT = 1.0  # weight of the dice loss and matching cost
    node.MASK_WEIGHT = 20.0  # weight of the mask cross-entropy loss and matching cost
    node.NHEADS = 8  # attention heads of the transformer decoder and of the pixel decoder
    node.DROPOUT = 0.1  # dropout of the pixel decoder's transformer (the decoder itself has none)
    node.DIM_FEEDFORWARD = 2048  # width of the decoder's feed-forward layers
    node.ENC_LAYERS = 0  # unused; published files set it
    node.DEC_LAYERS = 6  # supervised outputs: one more than there are decoder layers
    node.PRE_NORM = False  # normalise before each sub-layer instead of after it
    node.HIDDEN_DIM = 256  # width of the queries
    node.NUM_OBJECT_QUERIES = 100  # number of queries, thus the most masks an image can have
    node.TRANSFORMER_IN_FEATURE = "res5"  # only "multi_scale_pixel_decoder" is supported
    node.ENFORCE_INPUT_PROJ = False  # project the decoder's inputs even where the widths agree
    node.SIZE_DIVISIBILITY = 32  # images are padded to a multiple of this; < 0: the backbone's
    node.TRANSFORMER_DECODER_NAME = "MultiScaleMaskedTransformerDecoder"  # registered name of the decoder
    node.TRAIN_NUM_POINTS = 112 * 112  # points at which mask losses and costs are computed
    node.OVERSAMPLE_RATIO = 3.0  # candidate points per kept point
    node.IMPORTANCE_SAMPLE_RATIO = 0.75  # share of points taken where the prediction is uncertain
    node.TEST = CfgNode()
    node.TEST.SEMANTIC_ON = True
    node.TEST.INSTANCE_ON = False
    node.TEST.PANOPTIC_ON = False
    node.TEST.OBJECT_MASK_THRESHOLD = 0.0  # panoptic: least score of a query that is kept
    node.TEST.OVERLAP_THRESHOLD = 0.0  # panoptic: least share of its own mask that a query must win
    node.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE = False  # resize masks, not the semantic map, to the output size


def _add_zero_shot_keys(cfg: CfgNode) -> None:
    """Keys of ZegCLIP and Cascade-CLIP; which CLIP is used, MODEL.FC_CLIP says."""
    node = cfg.MODEL.ZERO_SHOT = CfgNode()
    node.SETTING = "inductive"  # inductive, transductive (pseudo labels for unseen classes) or fully_supervised
    node.ENCODER = "prompt_tuned"  # prompt_tuned, fine_tuned or fixed
    node.NUM_PROMPTS = 10  # learned tokens a block
    node.PROMPT_DROPOUT = 0.1  # dropout of the prompts
    node.BLOCK_GROUPS = [[-1]]  # CascadeCLIP: blocks of the ViT that each decoder sees, from 0; -1 is the last
    node.LEVEL_PROJECTION = "random"  # projections of the earlier blocks start at random (published) or as "clip"'s own
    node.TRAIN_LEVEL_PROJECTION = False  # train them; published: they stay as they were drawn
    node.DESCRIPTOR = True  # queries know the image; without it they are made of the text alone
    node.DECODER_LAYERS = 3  # layers of a decoder
    node.DECODER_HEADS = 8  # attention heads of a decoder
    node.DIM_FEEDFORWARD = 2048  # width of its feed-forward layers
    node.DECODER_DROPOUT = 0.1  # dropout of its layers
    node.ALIGNED_START = False  # decoders start as the cosine of names and patches; published: at random
    node.LOSS = "nel"  # nel (every class on its own), nel_labelled (where there are labels) or softmax
    node.MASK_WEIGHT = 100.0  # weight of the focal loss
    node.DICE_WEIGHT = 1.0  # weight of the dice loss
    node.TEMPLATES = "single"  # prompts a name is put into: single, or multiple (15)
    node.TEXT_EMBEDDINGS = ""  # .npy file with a row for each class of the first of DATASETS.TEST, instead of prompts
    node.DENSE_PATCHES = "values"  # what DenseCLIP compares: MaskCLIP's "values" of the last block, or CLIP's "tokens"
    node.GUIDED_ITERATIONS = 2000  # DenseCLIPPlus: steps in which plain CLIP guesses the labels of unseen classes
    node.SEEN_PENALTY = 0.1  # subtracted from the score of seen classes; 0 after transductive training
    node.CROP_SIZE = 512  # side of training crops and of the window that slides over test images
    node.STRIDE = 426  # from one window to the next


def _add_mask_adapter_keys(cfg: CfgNode) -> None:
    """Keys of Mask-Adapter, on FC-CLIP and MAFT+ (docs/family.md)."""
    node = cfg.MODEL.MASK_ADAPTER = CfgNode()
    node.NAME = ""  # registered name of the adapter, "MASKAdapterHead"; "": none, CLIP sees the average over a mask
    node.MASK_IN_CHANNELS = 16  # width of the small encoder of masks
    node.NUM_CHANNELS = 768  # width of its blocks
    node.NUM_OUTPUT_MAPS = 16  # weight maps per mask
    node.MASK_THRESHOLD = 0.5  # probability above which a pixel belongs to a mask that the adapter sees
    node.CHUNK_MB = 64  # MiB that the widest activations of the masks in one go may take at inference
    node.USE_CHECKPOINT = False  # training: compute its blocks again in the backward pass instead of keeping them
    node.IOU_THRESHOLD = 0.7  # training: a prediction is paired with a ground truth that it overlaps by more than this
    node.COS_WEIGHT = 5.0  # training: weight of the loss between the embeddings of a pair
    node.NUM_GT_MASKS = 16  # training: masks of the ground truth per image
    node.NUM_PRED_MASKS = 8  # training: pairs per image
    node.WARM_UP = False  # training: with masks of the ground truth alone, before that with predictions
    node.TRAIN_MAFT = False  # unused (MODEL.META_ARCHITECTURE says it); published files set it
    cfg.DATALOADER.DATASET_RATIO = [1, 1]  # unused; training on several datasets
    cfg.DATALOADER.DATASET_BS = [2, 2]  # unused; training on several datasets
    cfg.DATALOADER.DATASET_ANN = ["box", "box"]  # unused; training on several datasets
    cfg.DATALOADER.USE_RFS = [False, False]  # unused; training on several datasets
    cfg.DATALOADER.USE_DIFF_BS_SIZE = True  # unused; training on several datasets
    cfg.DATALOADER.MULTI_DATASET_GROUPING = True  # unused; training on several datasets


def _add_tuned_clip_keys(cfg: CfgNode) -> None:
    """Keys of MAFT+ and OVRCOAT, which train CLIP's image trunk (docs/family.md)."""
    # form of MAFT+'s transfer, a property of the weights: semantic, panoptic, or "" as published, by TEST.PANOPTIC_ON
    cfg.MODEL.MAFT_PLUS = CfgNode({"TRANSFER_FORM": ""})
    cfg.MODEL.cdt_params = [768, 8]  # MAFT+: width of the transfer, that of CLIP's embeddings, and its heads
    cfg.MODEL.rc_weights = None  # MAFT+, training: weight of the loss that keeps CLIP's features; published: 0.1
    cfg.MODEL.relu = "relu"  # unused; published files set it
    node = cfg.MODEL.OVRCOAT = CfgNode()
    node.CLIP_TRUST_WEIGHT = 0.0  # how much less likely void is where CLIP is sure of a class (COAT: 0.5); any FC-CLIP
    node.INSTANCES_BY_LOGIT = True  # OVRCOAT: score instances by mask logits, as published; False: as FC-CLIP
    node.CE_WEIGHT = 2.0  # training: weight of CLIP's classification loss
    node.DIST_WEIGHT = 0.02  # training: weight of the loss between Gram matrices of the features
    node.RC_WEIGHTS = 0.0  # training: weight of MAFT+'s loss that keeps CLIP's features
    node.SEM_SEG_WEIGHTS = "./fcclip_cocopan.pth"  # training: file, or zoo:NAME, that the mask generator starts from
    cfg.MODEL.BACKBONE.FREEZE = True  # OVRCOAT, training: leave the trunk as it is
    cfg.TRAIN = CfgNode()
    cfg.TRAIN.LOSSES = ["oov_ce"]  # OVRCOAT, training: losses that count, of "labels", "masks" and "oov_ce" (CLIP's)
    cfg.TRAIN.USE_PRETRAINED_SEG_HEAD_WEIGHTS = True  # OVRCOAT: with MODEL.WEIGHTS "", from SEM_SEG_WEIGHTS
    cfg.TRAIN.DETACH_SEG_HEAD = False  # OVRCOAT, training: the mask generator's gradients stop before the trunk


def _add_sem_seg_head_keys(cfg: CfgNode) -> None:
    node = cfg.MODEL.SEM_SEG_HEAD
    node.MASK_DIM = 256  # channels of the mask features
    node.TRANSFORMER_ENC_LAYERS = 0  # layers of the pixel decoder's transformer
    node.PIXEL_DECODER_NAME = "BasePixelDecoder"  # registered name of the pixel decoder
    node.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES = ["res3", "res4", "res5"]  # its input levels
    node.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS = 4  # unused (always 4); published files set it
    node.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS = 8  # unused (see MASK_FORMER.NHEADS); published files set it


def _add_swin_keys(cfg: CfgNode) -> None:
    """Keys of a Swin backbone: unused here, present so that Mask2Former's YAML files merge."""
    cfg.MODEL.SWIN = CfgNode(
        {
            "PRETRAIN_IMG_SIZE": 224,
            "PATCH_SIZE": 4,
            "EMBED_DIM": 96,
            "DEPTHS": [2, 2, 6, 2],
            "NUM_HEADS": [3, 6, 12, 24],
            "WINDOW_SIZE": 7,
            "MLP_RATIO": 4.0,
            "QKV_BIAS": True,
            "QK_SCALE": None,
            "DROP_RATE": 0.0,
            "ATTN_DROP_RATE": 0.0,
            "DROP_PATH_RATE": 0.3,
            "APE": False,
            "PATCH_NORM": True,
            "OUT_FEATURES": ["res2", "res3", "res4", "res5"],
            "USE_CHECKPOINT": False,
        }
    )


def chunk_bytes_of(cfg: CfgNode) -> int:
    """The bytes of masks and scores that a model holds at a time at inference, on the device of its configuration.

    Raises:
        ValueError: they are not positive.
    """
    is_gpu = cfg.MODEL.DEVICE.startswith("cuda")
    key, usual = ("TEST_CHUNK_MB_GPU", 256) if is_gpu else ("TEST_CHUNK_MB", 8)
    megabytes = int(cfg.MODEL.FC_CLIP[key])
    if megabytes <= 0:
        raise ValueError(f"MODEL.FC_CLIP.{key} must be at least 1, not {megabytes}; {usual} suits most machines")
    return megabytes * 2**20


def dtype_of_key(key: str, name: str) -> torch.dtype:
    """The type that a configuration key names.

    Raises:
        ValueError: there is no such type.
    """
    if name not in DTYPE_NAMES:
        raise ValueError(f'{key} is "{name}"; choose one of {", ".join(DTYPE_NAMES)}')
    dtype: torch.dtype = getattr(torch, name)
    return dtype
