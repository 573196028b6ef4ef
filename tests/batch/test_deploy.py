"""The files for clusters: they can be read, and the commands in them are those that there are."""

import re
import shlex
import subprocess

import pytest
import yaml

from fcclip.commands.predict import parser
from tests.tiny import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
FILES = ("ray/cluster.yaml", "slurm/predict.sbatch", "kubernetes/rayjob.yaml")


@pytest.mark.parametrize("name", FILES)
def test_the_command_has_flags_that_there_are(name: str) -> None:
    text = re.sub(r"\\\n#?\s*", " ", (DEPLOY / name).read_text())
    if name.endswith("rayjob.yaml"):
        text = yaml.safe_load(text)["spec"]["entrypoint"]
    [command] = [one for one in re.findall(r"fcclip predict ([^&\n'`]+)", text) if "--output" in one]
    command = command.replace("$((SLURM_JOB_NUM_NODES * gpus))", "8")
    options = parser("fcclip predict").parse_args(shlex.split(command))
    assert (options.engine, bool(options.address), options.workers >= 8) == ("ray", True, True)


def test_they_can_be_read() -> None:
    subprocess.run(["bash", "-n", str(DEPLOY / FILES[1])], check=True)
    job = yaml.safe_load((DEPLOY / FILES[2]).read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    [group] = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    cluster = yaml.safe_load((DEPLOY / FILES[0]).read_text())
    assert len(cluster["provider"]["worker_ips"]) == cluster["min_workers"]
