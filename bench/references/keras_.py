"""The step in Keras on TensorFlow, as the article has it: layers, GradientTape, Adam, in one tf.function."""

import keras
import tensorflow as tf
from keras import layers


class Keras:
    def __init__(self, start):
        self.start, self.m, self.images = start, start.m, tf.constant(start.images)
        self.G, self.D = (built(*net) for net in ((start.G, start.n_z), (start.D, start.images.shape[1])))
        settings = {'learning_rate': start.learning_rate, 'beta_1': start.beta1, 'beta_2': 0.999, 'epsilon': start.eps}
        self.adam_G, self.adam_D = keras.optimizers.Adam(**settings), keras.optimizers.Adam(**settings)
        self.adam_G.build(self.G.trainable_variables)
        self.adam_D.build(self.D.trainable_variables)
        self.run_graph = tf.function(self._run, input_signature=[tf.TensorSpec([None, self.m], tf.int64)])

    def step(self, x, z_D, z_G):
        m = self.m
        samples = self.G(z_D, training=True)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([w.value for w in self.D.trainable_variables])
            logits = self.D(tf.concat([x, samples], 0), training=True)
            loss_D = tf.reduce_mean(tf.nn.softplus(-logits[:m])) + tf.reduce_mean(tf.nn.softplus(logits[m:]))
        gradient_D = tape.gradient(loss_D, [w.value for w in self.D.trainable_variables])
        self.adam_D.apply(gradient_D)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([w.value for w in self.G.trainable_variables])
            loss_G = tf.reduce_mean(tf.nn.softplus(-self.D(self.G(z_G, training=True), training=True)))
        gradient_G = tape.gradient(loss_G, [w.value for w in self.G.trainable_variables])
        self.adam_G.apply(gradient_G)
        return (loss_D, loss_G), (gradient_D, gradient_G)

    def _run(self, rows):
        for i in tf.range(tf.shape(rows)[0]):
            z_D, z_G = tf.random.normal((self.m, self.start.n_z)), tf.random.normal((self.m, self.start.n_z))
            self.step(tf.gather(self.images, rows[i]), z_D, z_G)

    def gradients(self, x, z_D, z_G):
        self.adam_D.epsilon *= 0.001**0.5  # Keras adds it to the uncorrected root: at t = 1 this makes the two equal
        gradients = tf.function(self.step)(*map(tf.constant, (x, z_D, z_G)))[1]
        return tuple([ours(one.kind, dw.numpy()) for dw, one in zip(of_net, owners(layers), strict=True)]
                     for of_net, layers in zip(gradients, (self.start.D, self.start.G)))

    def run(self, rows):
        self.run_graph(tf.constant(rows))


def built(described, n):
    """The network of layers, each Described, for rows of n numbers."""
    net = keras.Sequential([keras.Input((n,)), *(LAYERS[kind](weights, **settings)
                                                 for kind, settings, weights in described)])
    weights = [w for one in described for w in one.weights]
    for variable, one, w in zip(net.trainable_variables, owners(described), weights, strict=True):
        variable.assign(theirs(one.kind, w, variable.shape))
    return net


def convolution(kind, n_out, weights, k, stride, pad):
    """A convolution or a transposed one, with as many zeros around the images as 'same' means."""
    if 2 * pad != max(k - stride, 0):
        raise ValueError(f"expected Keras' 'same' padding, got k {k}, stride {stride}, pad {pad}")
    return kind(n_out, k, stride, 'same', use_bias=len(weights) > 1)


LAYERS = {
    'reshape': lambda weights, shape: layers.Reshape(shape),
    'dense': lambda weights: layers.Dense(weights[0].shape[1], use_bias=len(weights) > 1),
    'convolution': lambda weights, **window: convolution(layers.Conv2D, weights[0].shape[1], weights, **window),
    'transposed': lambda weights, k, **window: convolution(
        layers.Conv2DTranspose, weights[0].shape[1] // k**2, weights, k, **window),
    'batch_norm': lambda weights, eps, momentum: layers.BatchNormalization(epsilon=eps, momentum=momentum),
    'leaky_relu': lambda weights, slope: layers.LeakyReLU(slope),
    'dropout': lambda weights, rate: layers.Dropout(rate),
    'tanh': lambda weights: layers.Activation('tanh'),
}


def owners(described):
    """The Described layer of each parameter, in order."""
    return [one for one in described for _ in one.weights]


def theirs(kind, w, shape):
    """A parameter in Keras' shape, from minigan's."""
    if kind == 'transposed':
        return w.reshape(len(w), *shape[:3]).transpose(1, 2, 3, 0)
    return w.reshape(shape)


def ours(kind, w):
    """A parameter in minigan's shape, from Keras'."""
    if kind == 'transposed':
        return w.transpose(3, 0, 1, 2).reshape(w.shape[3], -1)
    return w.reshape(-1, w.shape[-1]) if w.ndim == 4 else w
