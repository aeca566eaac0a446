"""Traces and compiled programs as benchmarks/gpu.py reads them."""

from pathlib import Path

import gpu_programs
import gpu_trace
import jax
import jax.numpy as jnp

PROGRAM = """HloModule jit_one, is_scheduled=true

%fused_computation.4 (param_0: f32[3]) -> f32[3] {
  %a = f32[3]{0} maximum(%param_0, %param_0), metadata={op_name="jit(one)/jvp(ABE)/encoder/conv1/max" stack_frame_id=1}
  ROOT %b = f32[3]{0} add(%a, %a), metadata={op_name="jit(one)/jvp(ABE)/encoder/conv1/max" stack_frame_id=1}
}

ENTRY %main.1 (x: f32[3]) -> f32[3] {
  %x = f32[3]{0} parameter(0), metadata={op_name="state"}
  %loop_fusion.4 = f32[3]{0} fusion(%x), kind=kLoop, calls=%fused_computation.4
  %cudnn-conv.2 = f32[3]{0} custom-call(%x), metadata={op_name="jit(one)/transpose(jvp(ABE))/decoder/head/conv/conv_general_dilated"}
  ROOT %add.1 = f32[3]{0} add(%cudnn-conv.2, %loop_fusion.4), metadata={op_name="jit(one)/add"}
}
"""  # noqa: E501


def test_instructions_know_their_modules() -> None:
    found = gpu_trace.paths(PROGRAM)
    assert found["loop_fusion_4"] == "jit(one)/jvp(ABE)/encoder/conv1/max"
    assert found["cudnn_conv_2"].endswith("conv_general_dilated")
    assert gpu_programs.instructions(PROGRAM) == 3


def test_paths_become_stages() -> None:
    stages = ("conv1", "head")
    at = {name: gpu_trace.stage(path, stages) for name, path in gpu_trace.paths(PROGRAM).items()}
    assert at["loop_fusion_4"] == "encoder, conv1, forward"
    assert at["cudnn_conv_2"] == "decoder, head, backward"
    assert at["add_1"] == gpu_trace.OUTSIDE
    assert (
        gpu_trace.stage("jit(one)/jvp(ABE)/head/dot_general", stages) == "fully connected, forward"
    )
    assert gpu_trace.stage("", stages) == gpu_trace.UNKNOWN


def test_a_traces_times_are_of_one_step() -> None:
    event = gpu_trace.Event
    found = [
        event("loop_fusion_4", "command_buffer", 0.0, 4e6),
        event("void cudnn::conv<int, 3>(float)", "cudnn-conv.2", 2e6, 4e6),
        event("void cudnn::conv<int, 5>(float)", "cudnn-conv.2", 9e6, 1e6),
        event("memcpy", "", 10e6, 2e6),
    ]
    told = gpu_trace.summary(found, PROGRAM, ("conv1", "head"), steps=2)
    assert [row["name"] for row in told["kernels"]] == ["cudnn::conv", "loop_fusion", "memcpy"]
    assert told["kernels"][0]["milliseconds"] == 2.5
    assert told["kernels"][0]["launches"] == 1
    assert told["stages"][1]["name"] == "encoder, conv1, forward"
    assert (told["span_ms"], told["busy_ms"], told["launches"]) == (6.0, 4.5, 2.0)


def test_a_trace_of_this_machine_is_read(tmp_path: Path) -> None:
    def loss(w: jax.Array) -> jax.Array:
        with jax.named_scope("decoder"), jax.named_scope("conv1"):
            return jnp.sum(jnp.tanh(w @ w) ** 2)

    step, w = jax.jit(jax.grad(loss)), jnp.ones((200, 200))
    program = step.lower(w).compile().as_text()
    jax.block_until_ready(step(w))
    with jax.profiler.trace(str(tmp_path)):
        jax.block_until_ready(step(w))
    found = gpu_trace.events(jax.profiler.ProfileData.from_file(str(gpu_trace.newest(tmp_path))))
    told = gpu_trace.summary(found, program or "", ["conv1"], steps=1)
    assert told["kernels"]
    assert {"decoder, conv1, forward", "decoder, conv1, backward"} & {
        row["name"] for row in told["stages"]
    }
