"""What a reader calls the experiments and the optimizers of the records."""

SYSTEMS = {
    "mnist_fcn": "FCN on MNIST",
    "mnist_fcn_overtrain": "FCN on MNIST",
    "mnist_fcn_10k": "FCN on MNIST",
    "cifar_fcn": "FCN on CIFAR-10",
    "cifar_resnet": "ResNet on CIFAR-10",
    "mnist_fcn_classes10": "FCN on MNIST, ten classes",
    "cifar_fcn_classes10": "FCN on CIFAR-10, ten classes",
    "cifar_resnet_classes10": "ResNet on CIFAR-10, ten classes",
}
TEN_CLASSES = "_classes10"
"""How the experiments end that take ten classes in the place of the paper's two groups of them."""
OPTIMIZERS = {
    "sgd": "SGD",
    "adam": "Adam",
    "entropy_sgd": "entropy-SGD",
    "gd": "full-batch GD",
    "adagrad": "Adagrad",
    "momentum": "momentum",
    "rmsprop": "RMSProp",
}
