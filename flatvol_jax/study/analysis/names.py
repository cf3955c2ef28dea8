"""What a reader calls the experiments and the optimizers of the records."""

SYSTEMS = {
    "mnist_fcn": "FCN on MNIST",
    "mnist_fcn_overtrain": "FCN on MNIST",
    "mnist_fcn_10k": "FCN on MNIST",
    "cifar_fcn": "FCN on CIFAR-10",
    "cifar_resnet": "ResNet on CIFAR-10",
}
OPTIMIZERS = {
    "sgd": "SGD",
    "adam": "Adam",
    "entropy_sgd": "entropy-SGD",
    "gd": "full-batch GD",
    "adagrad": "Adagrad",
    "momentum": "momentum",
    "rmsprop": "RMSProp",
}
