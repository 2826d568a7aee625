"""The command `cmc`: finds a command's file only when it is called, and turns errors into one line."""

from __future__ import annotations

import errno
import importlib
import sys
from typing import Any

import click

from cmc_sdk.errors import CmcError, InterruptError

__all__ = ["cmc", "main"]

COMMANDS = {
    "bench": "Time a bundle on this machine.",
    "bundle": "Sign a bundle, and keep the keys that are trusted.",
    "data": "Data lists, phantoms, and DICOM studies.",
    "demo": "The whole path on a phantom, in minutes, on a CPU.",
    "doctor": "What this machine can do.",
    "engine": "Build, list and check engines for NVIDIA devices.",
    "evaluate": "Measure a run or a bundle on labelled cases.",
    "export": "Turn a training run into a bundle.",
    "infer": "Label a scan with a bundle.",
    "info": "What a bundle is.",
    "train": "Train a network.",
    "verify": "Check a bundle's parity on this machine.",
}


class _LazyGroup(click.Group):
    """Imports `cmc_sdk.cli.<command>` when that command is called, so that `cmc infer` never imports torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"cmc_sdk.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="cmc-sdk", prog_name="cmc")
def cmc(debug: bool) -> None:
    """Train on a few labelled scans, export a bundle, and label scans with it."""


def main(arguments: list[str] | None = None) -> Any:
    """Run `cmc` and exit: 0 done, 1 failed, 2 wrong use or bad input; 3, 4 and 130 as in `cmc_sdk.errors`.

    Without `arguments` those of this process are taken, which then is the command's own.
    """
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words[:1]
    try:
        code = cmc.main(args=words, prog_name="cmc", standalone_mode=False, obj={"own_process": arguments is None})
    except CmcError as error:
        _fail(str(error), error.exit_code, debug, error)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # from click 8.2: a group without a command shows its help
            error.show()
            sys.exit(2)
        _fail(_usage(error), 2, debug, error)
    except (KeyboardInterrupt, click.Abort) as error:
        _fail("stopped by Ctrl-C; nothing half-written was left behind", InterruptError.exit_code, debug, error)
    except BrokenPipeError:
        sys.exit(1)
    except ModuleNotFoundError as error:
        _fail(_missing_module(error), 1, debug, error)
    except MemoryError as error:
        _fail("memory ran out; close other programs or use a machine with more memory", 1, debug, error)
    except OSError as error:
        _fail(_os_error(error), 1, debug, error)
    except Exception as error:
        _fail(f"internal error: {type(error).__name__}: {error}; run again with `cmc --debug ...`", 1, debug, error)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(line: str, code: int, debug: bool, error: BaseException) -> None:
    if debug:
        raise error
    click.echo("error: " + " ".join(line.split()), err=True)
    sys.exit(code)


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "cmc"
    return f"{error.format_message().rstrip('.')}; `{command} --help` shows what is allowed"


def _missing_module(error: ModuleNotFoundError) -> str:
    extra = {"torch": "train", "monai": "train", "onnx": "export", "openvino": "cpu", "onnxruntime": "cpu"}
    name = (error.name or "").partition(".")[0]
    mend = f"install it with `pip install 'cmc-sdk[{extra[name]}]'`" if name in extra else "install it"
    return f"the Python package {name} is not installed; {mend}"


def _os_error(error: OSError) -> str:
    name = error.filename or "a file"
    if error.errno == errno.ENOSPC:
        return f"{name}: the disk is full; free space or choose another place"
    return f"{name}: {error.strerror or error}"
