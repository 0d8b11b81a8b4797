"""The step in Keras on TensorFlow, as the article has it: layers, GradientTape, Adam, in one tf.function."""

import keras
import tensorflow as tf
from keras import layers


class Keras:
    def __init__(self, start):
        self.start, self.m, self.images = start, start.m, tf.constant(start.images)
        self.G, self.D = generator(start), discriminator(start)
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
        return tuple([dw.numpy() for dw in of_net] for of_net in gradients)

    def run(self, rows):
        self.run_graph(tf.constant(rows))


def generator(start):
    W1, _, _, W2, _, _, W3, b3 = start.G
    net = keras.Sequential([
        keras.Input((start.n_z,)), layers.Dense(256, use_bias=False), layers.BatchNormalization(),
        layers.LeakyReLU(start.slope), layers.Dense(512, use_bias=False), layers.BatchNormalization(),
        layers.LeakyReLU(start.slope), layers.Dense(W3.shape[1], activation='tanh')])
    for variable, w in zip(net.trainable_variables, start.G):
        variable.assign(w)
    return net


def discriminator(start):
    net = keras.Sequential([
        keras.Input((start.D[0].shape[0],)), layers.Dense(512), layers.LeakyReLU(start.slope),
        layers.Dropout(start.rate), layers.Dense(256), layers.LeakyReLU(start.slope), layers.Dropout(start.rate),
        layers.Dense(1)])
    for variable, w in zip(net.trainable_variables, start.D):
        variable.assign(w)
    return net
