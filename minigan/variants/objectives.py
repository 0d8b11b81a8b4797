"""What D and G minimise after 2014: least squares, hinge and Wasserstein. losses.py has the two objectives of 2014.

real, fake: (m, 1), D's outputs for m examples and m samples. They are no probabilities: no sigmoid is taken. The sign
is that of losses.py: D raises its output for data and lowers it for samples. V stands for -L_D, which D maximises.

The best D for a given G, the value that it reaches, and what a step of G with that D descends (p: p_data, q: p_g,
r = (p + q) / 2; D(x) is the sigmoid of the output for the first two, the output itself for the others):

    objective       D*(x)                        V(D*, G)          a step of G descends
    minimax         p / (p + q)                  2 JS - log 4      2 JS
    nonsaturating   p / (p + q)                  2 JS - log 4      KL(q || p) - 2 JS
    leastsquares    p / (p + q)                  chi2 / 8 - 1/4    KL(p || r) - chi2 / 8
    hinge           sign(p - q)                  2 TV - 2          2 TV
    wasserstein     Kantorovich's potential      W1                W1

JS: the Jensen-Shannon divergence; chi2 = integral of (p - q)^2 / (p + q), Pearson's chi^2(p + q || 2 q); TV = integral
of |p - q| / 2, the total variation; W1: see wasserstein.py. study/objectives.py computes them, and `minigan theory`
checks every entry. Goodfellow et al. 2014, Theorem 1; Arjovsky & Bottou 2017, Theorem 2.5, for nonsaturating.
"""

from minigan.backend import array_module
from minigan.losses import Objective


def L_D_leastsquares(real, fake):
    """The discriminator's loss of least squares: regression on the labels 1 for data and 0 for samples.

        L_D = E_x[(D(x) - 1)^2] / 2 + E_z[D(G(z))^2] / 2

    Mao et al. 2017, equation 9: a = 0, b = c = 1 in their equation 2, with which they train. Their proof that G
    minimises chi2 is for other labels, a = -1, b = 1, c = 0 (equation 8). With those labels D* is (p - q) / (p + q),
    and a step of G moves samples away from where they are too few, since L_G = D*^2 / 2 is large there too.
    """
    return ((real - 1)**2).mean() / 2 + (fake**2).mean() / 2


def L_D_leastsquares_backward(real, fake):
    """Derivative of L_D_leastsquares.   dreal = (D(x) - 1) / m,   dfake = D(G(z)) / m"""
    return (real - 1) / len(real), fake / len(fake)


def L_G_leastsquares(fake):
    """The generator's loss of least squares.   L_G = E_z[(D(G(z)) - 1)^2] / 2"""
    return ((fake - 1)**2).mean() / 2


def L_G_leastsquares_backward(fake):
    """Derivative of L_G_leastsquares.   dfake = (D(G(z)) - 1) / m"""
    return (fake - 1) / len(fake)


def L_D_hinge(real, fake):
    """The discriminator's hinge loss, as of a support vector machine: 0 beyond the margins +1 and -1.

        L_D = E_x[max(0, 1 - D(x))] + E_z[max(0, 1 + D(G(z)))]

    Lim & Ye 2017, Geometric GAN, section 3, without their penalty on D's last weights.
    """
    xp = array_module(real)
    return xp.maximum(0, 1 - real).mean() + xp.maximum(0, 1 + fake).mean()


def L_D_hinge_backward(real, fake):
    """Derivative of L_D_hinge.   dreal = (-1 where D(x) < 1) / m,   dfake = (1 where D(G(z)) > -1) / m"""
    return -(real < 1).astype(real.dtype) / len(real), (fake > -1).astype(fake.dtype) / len(fake)


def L_D_wasserstein(real, fake):
    """The critic's loss: minus its estimate of W1.   L_D = E_z[D(G(z))] - E_x[D(x)]

    It has no minimum unless D's slopes are bounded; see wasserstein.py. Arjovsky et al. 2017, equation 3.
    """
    return fake.mean() - real.mean()


def L_D_wasserstein_backward(real, fake):
    """Derivative of L_D_wasserstein.   dreal = -1 / m,   dfake = 1 / m"""
    ones = array_module(real).ones_like
    return -ones(real) / len(real), ones(fake) / len(fake)


def L_G_linear(fake):
    """The generator's loss of hinge and wasserstein: it raises D's output.   L_G = -E_z[D(G(z))]"""
    return -fake.mean()


def L_G_linear_backward(fake):
    """Derivative of L_G_linear.   dfake = -1 / m"""
    return -array_module(fake).ones_like(fake) / len(fake)


OBJECTIVES = {
    'leastsquares': Objective(L_D_leastsquares, L_D_leastsquares_backward,
                              L_G_leastsquares, L_G_leastsquares_backward, probability=False),
    'hinge': Objective(L_D_hinge, L_D_hinge_backward, L_G_linear, L_G_linear_backward, probability=False),
    'wasserstein': Objective(L_D_wasserstein, L_D_wasserstein_backward, L_G_linear, L_G_linear_backward,
                             probability=False),
}
