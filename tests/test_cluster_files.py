"""What cluster/ hands to Kubernetes, Docker and a TPU slice agrees with the program."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import processes
import pytest
import yaml
from processes import ROOT, TINY, environment, port

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


@pytest.mark.slow
def test_what_a_pod_runs_trains_and_says_nothing_on_the_side(
    tmp_path: Path, tiny_data: Path
) -> None:
    _, job = documents()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    _, *words = map(str, container["args"])
    here = {  # instead of the shared volume and the Service's names
        "config": f"--config={TINY}",
        "workdir": f"--workdir={tmp_path / 'run'}",
        "coordinator": f"--coordinator=127.0.0.1:{port()}",
    }
    words = [here.get(word[2:].split("=")[0], word) for word in words]
    pods = [
        subprocess.Popen(
            processes.command(
                "train", *(w.replace("$(JOB_COMPLETION_INDEX)", str(pod)) for w in words)
            ),
            cwd=ROOT,
            # As Kubernetes sets it, by which JAX thinks that it should ask there.
            env={**environment(tiny_data), **variables, "KUBERNETES_SERVICE_HOST": "10.0.0.1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pod in range(2)
    ]
    ended = [pod.communicate(timeout=300) for pod in pods]
    assert [pod.returncode for pod in pods] == [0, 0], ended
    assert "on 2 cpu device(s)" in ended[0][0]
    assert not any("ubernetes" in text for said in ended for text in said)


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


def test_pods_that_never_meet_do_not_come_back_for_ever() -> None:
    _, job = documents()
    assert 24 * 3600 <= job["spec"]["activeDeadlineSeconds"] <= 31 * 24 * 3600


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


# Stands where gcloud would: runs the command that all hosts are told, in the home of one.
GCLOUD = """#!/bin/bash
printf '%s ' "${@:1:$#-1}" >> "$HOME/asked"
command="${*: -1:1}"
cd "$HOME" && eval "${command#--command=}"
"""
# Stands where a host's Python would: says what it was told, and ends with the next status.
PYTHON = """#!/bin/bash
printf '<%s>' "$@" >> "$HOME/said"
read -r status rest < "$HOME/statuses"
echo "$rest" > "$HOME/statuses"
exit "$status"
"""


@pytest.mark.parametrize(
    ("statuses", "restarts", "status", "times"),
    [
        ("75 255 137 0", 100, 0, 4),
        ("75 2 0", 100, 2, 2),
        ("1 0", 100, 1, 1),
        ("75 130 0", 100, 130, 2),
        ("75 75 75 75", 2, 75, 3),
    ],
    ids=["goes on to the end", "a mistake", "a fault", "Ctrl-C", "bounded"],
)
def test_a_slice_is_told_again_until_the_training_has_ended(
    statuses: str, restarts: int, status: int, times: int, tmp_path: Path
) -> None:
    for name, text in {"bin/gcloud": GCLOUD, "abe_jax/.venv/bin/python": PYTHON}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "statuses").write_text(f"{statuses}\n")
    own = {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    own |= {"TPU": "slice", "ZONE": "here", "PAUSE": "0", "RESTARTS": str(restarts)}
    words = ["--config", "a b.py", "--workdir", "$HOME/it's"]
    done = subprocess.run([CLUSTER / "tpu_pod.sh", *words], env=own, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    told = "".join(f"<{word}>" for word in ["-m", "abe_jax.train", "--hosts", *words])
    assert (tmp_path / "said").read_text() == told * times
    asked = "compute tpus tpu-vm ssh slice --zone=here --worker=all "
    assert (tmp_path / "asked").read_text() == asked * times
    assert train.parser().parse(["--hosts", *words])[0].hosts


# Stands where srun would: ends as the next line says, with a checkpoint of the step behind it.
SRUN = """#!/bin/bash
read -r status step < "$HOME/ends"
sed -i 1d "$HOME/ends"
[[ -n $step ]] && mkdir -p "$HOME/run dir/checkpoints/latest/$step"
exit "$status"
"""


@pytest.mark.parametrize("workdir", [["--workdir", "run dir"], ["--workdir=run dir"]])
@pytest.mark.parametrize(
    ("ends", "statuses"),
    [
        (["137", "137", "137"], [75, 75, 1]),
        (["137", "75 4", "139", "137 8", "75", "137"], [75, 75, 75, 75, 75, 1]),
        (["143", "143", "143", "143", "2"], [75, 75, 75, 75, 2]),
    ],
    ids=["it never begins", "it gets no further", "it was stopped before it began"],
)
def test_slurm_requeues_no_job_that_gets_no_further(
    ends: list[str], statuses: list[int], workdir: list[str], tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    for name, text in {
        "srun": SRUN,
        "scontrol": '#!/bin/bash\necho "$@" >> "$HOME/told"\n',
        "sleep": "#!/bin/bash\nexec /bin/sleep 0.05\n",
    }.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "ends").write_text("".join(f"{line}\n" for line in ends))
    own = {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    own |= {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "here", "ABE_JAX_IDLE": "2"}
    words = [CLUSTER / "slurm.sh", "--config", "a.py", *workdir]
    found = []
    for restart in range(len(ends)):
        env = own | {"SLURM_RESTART_COUNT": str(restart)}
        done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True)
        found.append(done.returncode)
    assert found == statuses
    assert (tmp_path / "told").read_text() == "requeue 7\n" * statuses.count(75)
    if statuses[-1] == 1:
        assert "not requeued, after 2 restarts without a new checkpoint: a process" in done.stdout


def test_slurm_requeues_the_status_of_a_run_that_saved() -> None:
    text = (CLUSTER / "slurm.sh").read_text()
    assert f"\n    {ending.GO_ON}) retry " in text
    warning = re.search(r"^#SBATCH --signal=B:USR1@(\d+)$", text, re.M)
    within = re.search(r"ABE_JAX_LEFT:-(\d+)", text)
    assert warning and within
    assert int(within[1]) + 30 < int(warning[1])  # requeued before SLURM ends it


def test_srun_waits_long_enough_for_others_to_say_who_is_gone_and_not_for_ever() -> None:
    text = (CLUSTER / "slurm.sh").read_text()
    given = re.search(r"^WAIT=\$\{ABE_JAX_WAIT:-(\d+)\}$", text, re.M)
    assert given and 60 < int(given[1]) <= 600
    assert re.search(r'^srun .*--wait="\$WAIT" ', text, re.M)


def test_every_printed_command_is_one_that_the_programs_take() -> None:
    text = (ROOT / "docs" / "CLUSTER.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"^    .*(?:cluster/slurm\.sh|cluster/tpu_pod\.sh) (--.*)$", text, re.M)
    assert len(lines) >= 3
    for line in lines:
        arguments, _ = train.parser().parse(shlex.split(line))
        assert Path(arguments.config).parts[0] == "configs"
        assert (ROOT / arguments.config).is_file(), line
