"""`cmc doctor`: what this machine can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cmc_sdk.cli.terminal.console import emit_json, json_option, stdout

if TYPE_CHECKING:
    from cmc_sdk.runtime.doctor import MachineReport

EPILOG = "Example: cmc doctor --json"


@click.command(epilog=EPILOG)
@json_option
def command(as_json: bool) -> None:
    """Look at this machine: versions, backends and their precision, memory, and faults of the installation.

    Exit code 0: no fault; 1: a fault was found.
    """
    from cmc_sdk.runtime.doctor import examine_machine

    report = examine_machine()
    if as_json:
        emit_json(report.to_dict())
    else:
        for name, value in _facts(report).items():
            stdout().print(f"{name:<19} {value}", markup=False)
        for fault in report.faults:
            stdout().print(f"fault: {fault}", markup=False)
        if report:
            stdout().print("no fault found")
    if not report:
        click.get_current_context().exit(1)


def _facts(report: MachineReport) -> dict[str, str]:
    memory = "unknown" if report.memory_bytes is None else f"{report.memory_bytes / 2**30:.1f} GiB"
    facts = {"python": report.python, "platform": report.platform, "cores, memory": f"{report.cores}, {memory}"}
    for name, state in report.backends.items():
        good = f"{state.version}: {', '.join(state.precisions)} on {', '.join(state.devices)}"
        facts[name] = good if state.usable else state.note
    for room, works in report.rooms.items():
        facts[f"cmc {room}"] = "can work" if works else f"needs pip install 'cmc-sdk[{room}]'"
    nvidia = report.nvidia
    driver = f"driver {nvidia.driver or 'unknown'}, CUDA {nvidia.cuda}"
    facts["NVIDIA"] = f"{', '.join(nvidia.devices)}; {driver}" if nvidia.devices else nvidia.note
    facts |= {name: f"{note}: builds engines" if note[0].isdigit() else note for name, note in nvidia.tensorrt.items()}
    if report.openvino_telemetry_blocked is not None:
        facts["OpenVINO telemetry"] = "blocked" if report.openvino_telemetry_blocked else "not blocked"
    facts["packages"] = ", ".join(f"{name} {version}" for name, version in report.packages.items() if version)
    return facts
