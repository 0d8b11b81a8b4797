"""What is recorded of a step: a tree of statements and calls."""

from dataclasses import dataclass, field


class Node:
    """A Line or a Call: shown as `minigan trace` prints it."""

    def __repr__(self):
        from minigan.study.told import text
        return text([self])


@dataclass(repr=False)
class Line(Node):
    """A statement of a Game's method, once for each time that it ran.

    method, file, number: where it stands; code: the statement; paper: its line of Algorithm 1, or ''. produced: name ->
    value of each variable that it set, and 'returned' for what it returned; arrays are copies on the host.
    inside: the Lines and Calls that ran within it.
    """

    method: str
    file: str
    number: int
    code: str
    paper: str
    produced: dict = field(default_factory=dict)
    inside: list = field(default_factory=list)


@dataclass(repr=False)
class Call(Node):
    """A call of a layer, a loss or an optimiser.

    kind: 'forward', 'backward', 'loss' or 'optimizer'. of: the layer or the optimiser in words, or the loss's name.
    net, place: where a layer or an optimiser belongs, such as 'G', '1.Dense'. inside: the layers that a layer is made
    of. arrays: by kind,

        forward     x, y
        backward    dy, dx, and the parameters' derivatives dW, db, ...; without those that nobody asked for
        loss        before and after the update: numbers; formula: text; and its settings: numbers
        optimizer   dtheta, change = theta after - theta before, (n,); and its settings: numbers
    """

    kind: str
    of: str
    net: str = ''
    place: str = ''
    arrays: dict = field(default_factory=dict)
    inside: list = field(default_factory=list)


@dataclass(repr=False)
class Record:
    """What iteration t was made of.

    logits: what game.step(t) returned. lines: those of Game.alternating, or of the method that stands in for it; all
    others are inside them. probability: whether the sigmoid of a logit is one. record['samples']: the last value of
    that variable, a KeyError if there is none.
    """

    t: int
    logits: tuple
    lines: list
    probability: bool

    def walk(self):
        """Every Line and Call, in the order in which they began."""
        yield from _walk(self.lines)

    def find(self, method):
        """The Lines of a method."""
        return [line for line in self.walk() if isinstance(line, Line) and line.method == method]

    def calls(self, kind):
        """The Calls of a kind."""
        return [call for call in self.walk() if isinstance(call, Call) and call.kind == kind]

    def __getitem__(self, name):
        values = [line.produced[name] for line in self.walk() if isinstance(line, Line) and name in line.produced]
        if not values:
            raise KeyError(name)
        return values[-1]

    def __repr__(self):
        from minigan.study.told import text
        return text(self.lines, probability=self.probability)


def _walk(nodes):
    for node in nodes:
        yield node
        yield from _walk(node.inside)
