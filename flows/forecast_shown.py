"""The forecast of training in the terminal: a few short lines below the stages of a plan."""

from rich.table import Table
from rich.text import Text

from flows import terminal
from flows.forecast import Forecast, basis
from tasks.trainer.config import TrainingConfig

GIBI, MEBI = 2**30, 2**20


def show_forecast(told: Forecast, settings: TrainingConfig) -> None:
    """One line each: model, data, memory, time, cost, advice."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text, style in forecast_lines(told, settings):
        table.add_row(name, Text(text, style=style))
    terminal.console.print()
    terminal.console.print("training", style="bold")
    terminal.console.print(table, soft_wrap=False)


def forecast_lines(told: Forecast, settings: TrainingConfig) -> list[tuple[str, str, str]]:
    """Name, text and colour of each line."""
    lines = [("model", _model(told), ""), ("data", _data(told, settings), ""), ("memory", _memory(told), "")]
    if told.fits is False:
        lines.append(("", _too_large(told), "red"))
    lines.append(("time", _time(told), ""))
    if told.cost is not None or told.over_budget is not None:
        lines.append(("cost", _cost(told, settings), "yellow" if told.over_budget else ""))
    if not told.has_weights:
        what = "the base model's folder holds no weights in safetensors: it can be planned for, and not run"
        lines.append(("warning", what, "yellow"))
    lines += [("unknown", each, "yellow") for each in told.unknown]
    lines += [("advice", f"{each.field} {each.sentence}", "yellow") for each in told.advice]
    return lines


def _model(told: Forecast) -> str:
    if told.parameters is None or told.trainable is None:
        return f"method {told.method}"
    share = told.trainable / told.parameters
    what = "all of them learn" if share == 1 else f"{_count(told.trainable)} ({share:.2%}) learn"
    return f"{_count(told.parameters)} parameters, {what}; method {told.method}"


def _data(told: Forecast, settings: TrainingConfig) -> str:
    if told.data is None:
        return "rows and steps are known after tokenize; --exact computes them now"
    data = told.data
    return (
        f"{data.rows:,} rows of {data.row_tokens:,}, {data.tokens:,} tokens; {data.steps:,} steps of "
        f"{settings.batch_size} rows, {data.trained:,} tokens in all"
    )


def _memory(told: Forecast) -> str:
    if told.memory is None or told.load is None:
        return "known after tokenize, or with tokenization.max_length"
    memory = told.memory
    parts = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimiser": memory.optimiser,
        "activations": memory.activations,
        "context": memory.context,
    }
    unit, name = (GIBI, "GiB") if memory.total >= GIBI else (MEBI, "MiB")
    total = f"{memory.total / unit:,.1f} {name}"
    if told.device_bytes is not None:
        total += f" of {told.device_bytes / GIBI:.1f} GiB"
    summed = " + ".join(f"{part} {size / unit:,.1f}" for part, size in parts.items() if size)
    rows = "row" if told.load.rows == 1 else "rows"
    how = "checkpointing" if told.load.checkpointing else "no checkpointing"
    return f"{total} a device ({summed}); {told.load.rows} {rows} at a time, {how}"


def _too_large(told: Forecast) -> str:
    return (
        f"that does not fit into {told.device}; lower tokenization.max_length, choose a method that trains fewer "
        "weights, or a larger device"
    )


def _time(told: Forecast) -> str:
    if told.data is None:
        return "known after tokenize"
    if told.seconds is None:
        return "not known: set training.cost.device, such as h100, or see after a first run"
    devices = f"{told.devices} × {told.device}" if told.devices > 1 else str(told.device)
    return f"about {_duration(told.seconds)} on {devices}, at {basis(told)}"


def _cost(told: Forecast, settings: TrainingConfig) -> str:
    price = settings.cost.price_per_device_hour
    said = [] if told.cost is None else [f"about {told.cost:,.2f}, at {price:g} a device-hour"]
    if told.over_budget is not None:
        said.append(f"over budget: {told.over_budget}")
    elif settings.cost.most is not None:
        said.append(f"within the budget of {settings.cost.most:g}")
    return "; ".join(said)


def _count(number: int) -> str:
    for size, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{name}"
    return str(number)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"
