"""`cmc doctor`: what this machine can do."""

from __future__ import annotations

import click
from rich.table import Table

from cmc_sdk.cli.console import emit_json, json_option, stdout

EPILOG = "Example: cmc doctor --json"


@click.command(epilog=EPILOG)
@json_option
def command(as_json: bool) -> None:
    """Look at this machine: versions, backends and their precision, memory, and faults of the installation.

    Exit code 0: no fault; 1: a fault was found.
    """
    from cmc_sdk.runtime.machine import examine_machine

    report = examine_machine()
    if as_json:
        emit_json(report.to_dict())
    else:
        table = Table(show_header=False, box=None)
        memory = "unknown" if report.memory_bytes is None else f"{report.memory_bytes / 2**30:.1f} GiB"
        table.add_row("python", report.python)
        table.add_row("platform", report.platform)
        table.add_row("cores, memory", f"{report.cores}, {memory}")
        for name, state in report.backends.items():
            good = f"{state.version}: {', '.join(state.precisions)} on {', '.join(state.devices)}"
            table.add_row(name, good if state.usable else state.note)
        for room, works in report.rooms.items():
            table.add_row(f"cmc {room}", "can work" if works else f"needs pip install 'cmc-sdk[{room}]'")
        table.add_row("NVIDIA driver", "found" if report.gpu_driver else "none")
        if report.openvino_telemetry_blocked is not None:
            table.add_row("OpenVINO telemetry", "blocked" if report.openvino_telemetry_blocked else "not blocked")
        installed = [f"{name} {version}" for name, version in report.packages.items() if version]
        table.add_row("packages", ", ".join(installed))
        stdout().print(table)
        for fault in report.faults:
            stdout().print(f"fault: {fault}")
        if report:
            stdout().print("no fault found")
    if not report:
        click.get_current_context().exit(1)
