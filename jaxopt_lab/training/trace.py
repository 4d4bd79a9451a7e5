"""`Trace`: everything that a run leaves behind."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import numpy as np

from jaxopt_lab import reporting, storage
from jaxopt_lab.core import Status
from jaxopt_lab.reporting.outcomes import Reported, plot_first
from jaxopt_lab.training.probes import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Trace(Reported):
    """The outcome of a run of N configurations.

    Attributes:
      steps: steps done at each record, int [R], beginning with 0.
      metrics: probe name -> values [N, R, ...]; NaN after the record at which a configuration diverged.
      params: final parameters, leaves [N, ...]; NaN for configurations that diverged.
      state: final states of the rule, leaves [N, ...].
      status: how each configuration ended, [N].
      hyperparameters: name -> [N].
      seeds: [N].
      facts: how it ran: loop, width K, segments, seconds, steps per second without compilation.
      model_state: final states of the model, leaves [N, ...]; None where it has none.
    """

    _report: ClassVar[str] = "jaxopt_lab.training.report"

    steps: np.ndarray
    metrics: dict[str, np.ndarray]
    params: Any
    state: Any
    status: tuple[Status, ...]
    hyperparameters: dict[str, np.ndarray]
    seeds: np.ndarray
    facts: dict[str, Any]
    model_state: Any = None

    def __getitem__(self, name: str) -> np.ndarray:
        """The values of one probe, [N, R, ...]."""
        return self.metrics[name]

    def __repr__(self) -> str:
        num = len(self.seeds)
        return f"<Trace of {num} configuration{'s' * (num != 1)}, {self.steps[-1]} steps: {', '.join(self.metrics)}>"

    def plot(self, probe: str = "loss") -> "Figure":
        """One probe against the steps, a line a configuration.

        Args:
          probe: a name of `metrics` with one number a record.

        Returns:
          A matplotlib figure: a notebook shows it, `savefig` keeps it.

        Raises:
          InputError: there is no such probe, or it was never finite.
        """
        from jaxopt_lab.training.report import draws_of

        return plot_first("Trace.plot", draws_of(self, probe))

    def to_dataframe(self) -> Any:
        """The records as a pandas DataFrame: a row for each configuration and record, a column for each scalar probe.

        Raises:
          InputError: pandas is not installed.
        """
        scalars = {name: values for name, values in self.metrics.items() if values.ndim == 2}
        rows = [
            {"configuration": place, "seed": int(self.seeds[place]), "step": int(step)}
            | self.hyperparameters_of(place) | {name: values[place, record] for name, values in scalars.items()}
            for place in range(len(self.seeds)) for record, step in enumerate(self.steps)
        ]  # fmt: skip
        return reporting.outcomes.to_dataframe("Trace.to_dataframe", rows)

    def to_json(self) -> dict[str, Any]:
        """The trace as JSON data, without parameters and states."""
        return storage.encoding.to_json({
            "steps": self.steps, "metrics": self.metrics, "status": [each.name.lower() for each in self.status],
            "hyperparameters": self.hyperparameters, "seeds": self.seeds, "facts": self.facts,
        })  # fmt: skip

    def hyperparameters_of(self, configuration: int = 0) -> dict[str, float]:
        """The hyperparameters of one configuration."""
        return {name: float(column[configuration]) for name, column in self.hyperparameters.items()}

    def params_of(self, configuration: int = 0) -> Any:
        """The final parameters of one configuration."""
        return jax.tree.map(lambda leaf: leaf[configuration], self.params)

    def model_state_of(self, configuration: int = 0) -> Any:
        """The final state of one configuration's model, for `Problem.evaluate`, `Problem.freeze` and the metrics."""
        return jax.tree.map(lambda leaf: leaf[configuration], self.model_state)

    def cost(self) -> tuple[np.ndarray, np.ndarray]:
        """Gradients and Hessian products that each configuration took in all, two int arrays [N]; see `probes.cost`."""
        extra = np.broadcast_to(np.asarray(counted(self.state)), (len(self.seeds), 2))
        return self.steps[-1] + extra[:, 0], extra[:, 1]

    def first_step_below(self, name: str, target: float) -> np.ndarray:
        """First recorded step at which a scalar probe is at or below `target`, float [N]; infinity for a miss."""
        reached = self.metrics[name] <= target
        first = np.where(reached.any(1), self.steps[reached.argmax(1)], np.inf)
        return first.astype(np.float64)
