"""What random numbers in a program are for: redrawn weights, noise of a learned size or asked for, moved data."""

from jaxopt_lab.tracing.jaxprs import LAYERS, Program, is_number, line_of
from jaxopt_lab.tracing.outputs import find_outputs

_MASKS = ("mul", "div", "select_n")


def redrawn_weights(program: Program, num_leaves: int) -> tuple[str, ...]:
    """`file:line` of products of data with what comes from a generator of random numbers and from no parameter.

    Args:
      program: of a loss of (params, batch).
      num_leaves: how many of its first inputs are parameters.
    """
    own = set(program.inputs[:num_leaves])
    batch, drawn = set(program.inputs[num_leaves:]), set()
    lines = []
    for operation in program.operations:
        numbers = set(filter(is_number, operation.inputs))
        if numbers & own:
            own |= set(operation.outputs)
        if operation.name in LAYERS:
            for weight, data in (operation.inputs, operation.inputs[::-1]):
                if weight in drawn - own - batch and data in batch | own:
                    lines.append(line_of(operation))
        if numbers & batch:
            batch |= set(operation.outputs)
        if _draws(operation.name) or numbers & drawn:
            drawn |= set(operation.outputs)
    return tuple(dict.fromkeys(lines))


def learns_noise(program: Program, num_leaves: int) -> bool:
    """Whether normal noise is multiplied by what is made of the parameters, as where a model samples what it encodes.

    Dropout multiplies by a mask, and noise that is added for regularization by a constant: no model learns their size.

    Args:
      program: of a loss of (params, ..., key).
      num_leaves: how many of its first inputs are parameters.

    Reference: Kingma and Welling 2014, section 2.4 (reparameterization).
    """
    own, drawn, normal = set(program.inputs[:num_leaves]), set(), set()
    for operation in program.operations:
        numbers = set(filter(is_number, operation.inputs))
        if operation.name == "mul" and numbers & (normal - own) and numbers & (own - drawn):
            return True
        if numbers & own:
            own |= set(operation.outputs)
        if numbers & normal or (operation.name == "erf_inv" and numbers & drawn):
            normal |= set(operation.outputs)
        if _draws(operation.name) or numbers & drawn:
            drawn |= set(operation.outputs)
    return False


def asks_for_noise(program: Program, num_leaves: int) -> bool:
    """Whether outputs are compared with random numbers, as where a model is to tell the noise in its inputs.

    What multiplies or replaces outputs at random, as dropout behind them does, is not asked for.
    """
    place = find_outputs(program, num_leaves)
    if place is None:
        return False
    drawn, outputs = set(), {place.value}
    for operation in program.operations:
        numbers = set(filter(is_number, operation.inputs))
        if numbers & outputs:
            if numbers & (drawn - outputs) and operation.name not in _MASKS:
                return True
            outputs |= set(operation.outputs)
        elif _draws(operation.name) or numbers & drawn:
            drawn |= set(operation.outputs)
    return False


def moves_data(program: Program, num_leaves: int) -> bool:
    """Whether random numbers act on the data alone, as noise, shifts and flips do, and put nothing out as dropout does.

    Or on inputs and targets both, as mixing of examples does (Zhang et al. 2018, arXiv 1710.09412).

    Args:
      program: of a loss of (params, ..., key).
      num_leaves: how many of its first inputs are parameters.
    """
    if _mixes(program, num_leaves):
        return True
    own, data, drawn = set(program.inputs[:num_leaves]), set(program.inputs[num_leaves:]), set()
    moved = False
    for operation in program.operations:
        numbers = set(filter(is_number, operation.inputs))
        if _draws(operation.name):
            drawn |= set(operation.outputs)
            continue
        if numbers & drawn and numbers & own:
            return False
        if numbers & drawn and numbers & data:
            branches = operation.inputs[1:] if operation.name == "select_n" else ()
            if operation.name == "mul" or any(not is_number(each) or each not in data for each in branches):
                return False
            moved = True
        kind = own if numbers & own else data if numbers & data else drawn if numbers & drawn else set()
        kind |= set(operation.outputs)
    return moved


def _mixes(program: Program, num_leaves: int) -> bool:
    """Whether random numbers act on two leaves of the data or more, each by itself."""
    own, drawn, moved = set(program.inputs[:num_leaves]), set(), set()
    leaves = {value: {value} for value in program.inputs[num_leaves:]}
    for operation in program.operations:
        numbers = set(filter(is_number, operation.inputs))
        if numbers & own:
            own |= set(operation.outputs)
            continue
        sources = set().union(*(leaves.get(number, set()) for number in numbers - drawn))
        if _draws(operation.name) or (numbers & drawn and not sources):
            drawn |= set(operation.outputs)
            continue
        if numbers & drawn and len(sources) == 1:
            moved |= sources
        leaves |= {output: sources for output in operation.outputs if sources}
    return len(moved) > 1


def _draws(name: str) -> bool:
    return name.startswith(("random_", "threefry"))
