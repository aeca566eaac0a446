"""What cluster/ hands to Kubernetes, Docker and a TPU slice agrees with the program."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import ROOT

from abe_jax.cli import ending, several, train

CLUSTER = ROOT / "cluster"


def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    """The Service and the Job of kubernetes.yaml."""
    service, job = yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text())
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    return service, job


def test_pods_find_the_first_host_and_are_as_many_as_they_say() -> None:
    service, job = documents()
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    verb, *rest = container["args"]
    assert verb == "train"
    index = [word.replace("$(JOB_COMPLETION_INDEX)", "1") for word in rest]
    arguments, overrides = train.parser().parse(index)
    assert overrides == []
    assert (ROOT / arguments.config).is_file()
    assert several.asks_for_hosts(arguments)
    assert arguments.processes == spec["completions"] == spec["parallelism"]
    assert (arguments.process, spec["completionMode"]) == (1, "Indexed")
    # An indexed Job's pods are called JOB-INDEX; a headless Service of their subdomain's name and
    # with their label lets them be found, those too that are not ready.
    host, _ = arguments.coordinator.split(":")
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert str(arguments.workdir).startswith("/shared/")


def test_pods_come_back_when_they_saved_and_not_after_a_mistake() -> None:
    _, job = documents()
    pod = job["spec"]["template"]["spec"]
    rules = job["spec"]["podFailurePolicy"]["rules"]
    by_status = {
        status: rule["action"]
        for rule in rules
        for status in rule.get("onExitCodes", {"values": []})["values"]
    }
    assert by_status == {2: "FailJob", ending.GO_ON: "Ignore"}
    named = {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule}
    assert named == {pod["containers"][0]["name"]}
    assert pod["restartPolicy"] == "Never"  # a policy on exit codes allows no other


def test_the_container_has_all_that_the_program_is_built_from() -> None:
    text = (CLUSTER / "Dockerfile").read_text()
    copied = [w for line in re.findall(r"^COPY (.*)$", text, re.M) for w in line.split()[:-1]]
    assert {"pyproject.toml", "README.md", "LICENSE", "abe_jax", "configs"} <= {*copied}
    for name in copied:
        assert (ROOT / name).exists(), name
    assert '"tini", "--", "abe-jax"' in text


@pytest.mark.parametrize("script", ["slurm.sh", "tpu_pod.sh"])
def test_scripts_are_bash_and_may_be_run(script: str) -> None:
    path = CLUSTER / script
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert path.stat().st_mode & 0o111


def test_slurm_requeues_the_status_of_a_run_that_saved() -> None:
    text = (CLUSTER / "slurm.sh").read_text()
    assert f"\n    {ending.GO_ON}) requeue " in text
    warning = re.search(r"^#SBATCH --signal=B:USR1@(\d+)$", text, re.M)
    within = re.search(r"ABE_JAX_LEFT:-(\d+)", text)
    assert warning and within
    assert int(within[1]) + 30 < int(warning[1])  # requeued before SLURM ends it


def test_every_printed_command_is_one_that_the_programs_take() -> None:
    text = (ROOT / "docs" / "CLUSTER.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"^    .*(?:cluster/slurm\.sh|cluster/tpu_pod\.sh) (--.*)$", text, re.M)
    assert len(lines) >= 3
    for line in lines:
        arguments, _ = train.parser().parse(shlex.split(line))
        assert Path(arguments.config).parts[0] == "configs"
        assert (ROOT / arguments.config).is_file(), line
