"""For each line of Algorithm 1 in gan.py: the tests that check it, and the bugs planted in it that a test catches.

tests/study/test_evidence.py plants each bug and sees its test fail.
"""

from dataclasses import dataclass

TESTS = 'tests/core/test_gan.py::'


@dataclass(frozen=True)
class Bug:
    """A mistake in a line. wrong: the line that replaces it. words: what that does. caught_by: a test that then fails."""

    wrong: str
    words: str
    caught_by: str


@dataclass(frozen=True)
class Evidence:
    """What supports a line of minigan/`file`: code, stripped and without comment, in the function `function`."""

    file: str
    function: str
    code: str
    tests: tuple[str, ...]
    bugs: tuple[Bug, ...]


ORDER = TESTS + 'test_an_iteration_is_k_steps_of_D_on_fresh_data_and_noise_then_one_of_G'

EVIDENCE = (
    Evidence('gan.py', 'alternating', 'for i in range(self.k):', (ORDER,), (
        Bug('for i in range(1):', 'k is ignored', ORDER),
        Bug('for i in range(self.k + 1):', 'D takes one step too many', ORDER))),
    Evidence('gan.py', 'alternating', 'z = self.noise(t, self.k)', (ORDER,), (
        Bug('z = self.noise(t, 0)', 'G learns on the noise that D has just learned on', ORDER),
        Bug('pass', "G's step reuses the z of D's last step", ORDER))),
)


def of(code):
    """The Evidence for a line, stripped and without comment; None for a line without."""
    return next((evidence for evidence in EVIDENCE if evidence.code == code), None)
