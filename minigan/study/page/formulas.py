"""The equations of operations, losses and Algorithm 1, by the name of the function or of the paper's line.

mathml.py explains the notation. A product of matrices has no sign, .* multiplies element by element.
"""

OPERATIONS = {
    'dense': ['y = x W + b', 'y_{i j} = sum_{k} x_{i k} W_{k j} + b_j'],
    'dense_backward_input': ['dx = dy W^T', 'dx_{i k} = sum_{j} dy_{i j} W_{k j}'],
    'dense_backward_params_': ['dW = x^T dy', 'db = sum_{i=1}^m dy_i'],
    'batch_norm': ['y = gamma .* hat{x} + beta', 'hat{x} = frac{x - mu}{sqrt{"var" + eps}}',
                   'mu = frac{1}{m} sum_{i=1}^m x_i , "   var" = frac{1}{m} sum_{i=1}^m (x_i - mu)^2'],
    'batch_norm_backward': [
        'dx = frac{gamma}{sqrt{"var" + eps}} .* (under{dy}{"directly"} - under{frac{dbeta}{m}}{"through " mu} - '
        'under{hat{x} .* frac{dgamma}{m}}{"through var"})',
        'dgamma = sum_{i=1}^m dy_i .* hat{x}_i , "   " dbeta = sum_{i=1}^m dy_i'],
    'moving_average_': ['"moving" <- "momentum" * "moving" + (1 - "momentum") * "statistic"'],
    'batch_norm_evaluation': ['y = gamma .* hat{x} + beta', 'hat{x} = frac{x - mu}{sqrt{"var" + eps}}',
                              'mu "  and  var: given"'],
    'batch_norm_evaluation_backward': ['dx = frac{gamma}{sqrt{"var" + eps}} .* dy',
                                       'dgamma = sum_{i=1}^m dy_i .* hat{x}_i , "   " dbeta = sum_{i=1}^m dy_i'],
    'leaky_relu': ['y = cases{x & "where " x > 0 ; "slope" * x & "elsewhere"}'],
    'leaky_relu_backward': ['dx = dy .* cases{1 & "where " x > 0 ; "slope" & "elsewhere"}'],
    'maxout': ['y_j = max_{i = 1 ... "pieces"} x_{i j}'],
    'maxout_backward': ['dx_{i j} = cases{frac{dy_j}{n_j} & "where " x_{i j} = y_j ; 0 & "elsewhere"}',
                        'n_j = "number of largest units in group " j'],
    'scale': ['y = a x + b'],
    'scale_backward': ['dx = a dy'],
    'dropout': ['y = x .* "mask"',
                '"mask" = cases{0 & "with probability rate" ; frac{1}{1 - "rate"} & "otherwise"}'],
    'dropout_backward': ['dx = dy .* "mask"'],
    'tanh': ['y = tanh x'],
    'tanh_backward': ['dx = dy .* (1 - y^2)'],
    'sigmoid': ['y = frac{1}{1 + e^{- x}} = frac{e^{min(x, 0)}}{1 + e^{- |x|}}'],
    'sigmoid_backward': ['dx = dy .* y .* (1 - y)'],
    'softplus': ['y = log(1 + e^x) = max(x, 0) + log(1 + e^{- |x|})'],
    'softplus_backward': ['dx = dy .* sigmoid(x)'],
    'cross_entropy': ['- frac{1}{m} sum_{i=1}^m [t log D_i + (1 - t) log(1 - D_i)]',
                      '= frac{1}{m} sum_{i=1}^m [t softplus(- q_i) + (1 - t) softplus(q_i)]',
                      'D = sigmoid(q) , "   " q = "logit" , "   " t = "target"'],
    'cross_entropy_backward': ['dq = frac{D - t}{m} = frac{(1 - t) sigmoid(q) - t sigmoid(- q)}{m}'],
    'softmax': ['p_j = frac{e^{q_j}}{sum_{i} e^{q_i}} , "   " q = "logits"'],
    'softmax_cross_entropy': ['- frac{1}{m} sum_{i=1}^m log p_{i , "label"_i}',
                              'log p_{"label"} = q_{"label"} - log sum_{j} e^{q_j}'],
    'softmax_cross_entropy_backward': [
        'dq_j = frac{1}{m} (p_j - cases{1 & "where " j " is the label" ; 0 & "elsewhere"})'],
    'stack': ['rows{a ; b}'],
    'gather_images': ['x = frac{"images"["rows"]}{127.5} - 1'],
    'to_unit': ['frac{x + 1}{2}'],
    'from_unit': ['2 * "images" - 1'],
    'adam_': ['m <- beta_1 m + dtheta , "   " hat{m} = m / n_1 , "   " n_1 = frac{1 - beta_1^t}{1 - beta_1}',
              'v <- beta_2 v + dtheta^2 , "   " hat{v} = v / n_2 , "   " n_2 = frac{1 - beta_2^t}{1 - beta_2}',
              'theta <- theta - eta frac{hat{m}}{sqrt{hat{v}} + eps} , "   " eta = "learning rate"'],
    'euclidean_norm': ['|x| = sqrt{sum_{i} x_i^2} = frac{|s x|}{s}'],
    'clip_norm_': ['dtheta <- dtheta * min(1, frac{"limit"}{|dtheta|})'],
    'sgd_momentum_': ['"velocity" <- "momentum" * "velocity" - eta dtheta',
                      'theta <- theta + "velocity" , "   " eta = "learning rate"'],
}

LOSSES = {
    'V': ['V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]'],
    'L_D': ['L_D = - E_x[(1 - s) log D(x) + s log(1 - D(x))] - E_z[log(1 - D(G(z)))]', 's = "smoothing"'],
    'L_D_backward': ['"dreal" = frac{D(x) - 1 + s}{m} , "   " "dfake" = frac{D(G(z))}{m}'],
    'L_G_minimax': ['L_G = E_z[log(1 - D(G(z)))]'],
    'L_G_minimax_backward': ['"dfake" = - frac{D(G(z))}{m}'],
    'L_G_nonsaturating': ['L_G = - E_z[log D(G(z))]'],
    'L_G_nonsaturating_backward': ['"dfake" = frac{D(G(z)) - 1}{m}'],
}

ALGORITHM = {  # a line of the paper, by the comment in gan.py: its words, then its formulas
    'for k steps do': ('for k steps do', []),
    'sample a minibatch of m noise samples': (
        'Sample a minibatch of m noise samples from the noise prior.', ['z^{(1)}, ..., z^{(m)} ~ p_z(z)']),
    'sample a minibatch of m examples': (
        'Sample a minibatch of m examples from the data.', ['x^{(1)}, ..., x^{(m)} ~ p_{"data"}(x)']),
    'update D by ascending its stochastic gradient': (
        'Update the discriminator by ascending its stochastic gradient:',
        ['∇_{theta_D} frac{1}{m} sum_{i=1}^m [log D(x^{(i)}) + log(1 - D(G(z^{(i)})))]']),
    'update G by descending its gradient': (
        'Update the generator by descending its stochastic gradient:',
        ['∇_{theta_G} frac{1}{m} sum_{i=1}^m log(1 - D(G(z^{(i)})))']),
}
RECOMMENDED = '∇_{theta_G} frac{1}{m} sum_{i=1}^m - log D(G(z^{(i)}))'  # section 3 of the paper, instead of the last
