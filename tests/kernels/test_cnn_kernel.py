"""The kernel of convolutional networks: the recursion in NumPy, networks at initialisation."""

import jax
import numpy as np
import pytest

import flatvol_jax as fv


def relu_covariance(kernel):
    """E[relu(u) relu(v)] of Gaussians whose covariance is kernel[a, b, ...]; a, b may repeat."""
    n = int(np.sqrt(kernel.size))
    flat = kernel.transpose(0, 2, 3, 1, 4, 5).reshape(n, n)  # (input, pixel) by (input, pixel)
    scale = np.sqrt(np.diag(flat))
    norm = np.outer(scale, scale)
    with np.errstate(invalid="ignore"):
        angle = np.arccos(np.clip(np.where(norm > 0, flat / norm, 0), -1, 1))
    flat = norm * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    a, _, h, w, *_ = kernel.shape
    return flat.reshape(a, h, w, a, h, w).transpose(0, 3, 1, 2, 4, 5)


def pads(size, filter_size, stride, padding):
    """Zeros before and after: SAME gives ceil(size / stride) outputs, the odd one after."""
    if padding == "VALID":
        return 0, 0
    total = max((-(-size // stride) - 1) * stride + filter_size - size, 0)
    return total // 2, total - total // 2


def convolve(kernel, spec):
    """σ_b² + σ_w²/|filter| Σ_δ K(p + δ, p' + δ), K of shape (n, n, h, w, h, w)."""
    (rows, columns), (down, across) = spec.filter, spec.stride
    vertical = pads(kernel.shape[2], rows, down, spec.padding)
    horizontal = pads(kernel.shape[3], columns, across, spec.padding)
    padded = np.pad(kernel, [(0, 0), (0, 0), vertical, horizontal, vertical, horizontal])
    height = (padded.shape[2] - rows) // down + 1
    width = (padded.shape[3] - columns) // across + 1
    out = np.zeros((*kernel.shape[:2], height, width, height, width))
    for p in np.ndindex(height, width, height, width):
        i, j, k, m = p[0] * down, p[1] * across, p[2] * down, p[3] * across
        for r in range(rows):
            for c in range(columns):
                out[:, :, *p] += padded[:, :, i + r, j + c, k + r, m + c]
    return spec.sigma_b**2 + spec.sigma_w**2 * out / (rows * columns)


def recursion(spec, x):
    """The kernel from its definition, all pairs of pixels kept (Novak et al. 2019)."""
    kernel = np.einsum("ahwc,bijc->abhwij", x, x) / x.shape[-1]
    for _ in spec.channels:
        kernel = relu_covariance(convolve(kernel, spec))
    if spec.pooling == "global":
        seen = kernel.mean(axis=(2, 3, 4, 5))
    else:
        seen = np.einsum("abhwhw->ab", kernel) / np.prod(kernel.shape[2:4])
    return spec.sigma_b**2 + spec.sigma_w**2 * seen


@pytest.fixture(scope="module")
def images():
    x = np.random.default_rng(0).normal(size=(4, 5, 4, 2))
    x[1, :3] = 0  # with SAME padding and no bias, pixels there have variance 0
    return x


@pytest.mark.parametrize("pooling", ["global", None])
@pytest.mark.parametrize(
    "settings",
    [
        {"channels": (1,)},
        {"channels": (1, 1), "sigma_w": 1.3, "sigma_b": 0.2},
        {"channels": (1, 1), "sigma_w": 1.0, "sigma_b": 0.0},
        {"channels": (1, 1), "filter": (3, 2), "padding": "VALID"},
        {"channels": (1, 1), "filter": (2, 3), "stride": (2, 1), "sigma_b": 0.1},
        {"channels": (1,), "filter": 3, "stride": 2, "padding": "VALID"},
        {"channels": (1,), "filter": (7, 6)},
    ],
)
def test_the_kernel_is_the_recursion_over_pairs_of_pixels(images, pooling, settings):
    spec = fv.CNN(pooling=pooling, **settings)
    kernel = fv.nngp_kernel(spec, images)
    assert kernel.dtype == np.float64
    np.testing.assert_array_equal(kernel, kernel.T)
    # np.arccos near 1 costs the reference half its digits on the diagonal, to third order.
    np.testing.assert_allclose(kernel, recursion(spec, images), rtol=1e-11)


def test_two_sets_of_images_give_the_corner_of_the_square_kernel(images):
    for pooling in ("global", None):
        spec = fv.CNN((1, 1), pooling=pooling)
        corner = fv.nngp_kernel(spec, images)[:1, 1:]
        np.testing.assert_allclose(fv.nngp_kernel(spec, images[:1], images[1:]), corner, rtol=1e-13)


def test_a_filter_of_one_pixel_on_an_image_of_one_pixel_is_a_dense_layer():
    x = np.random.default_rng(1).normal(size=(6, 7))
    dense = fv.nngp_kernel(fv.FCN((3, 3), sigma_w=1.2, sigma_b=0.4), x)
    for pooling in ("global", None):
        spec = fv.CNN((3, 3), filter=1, pooling=pooling, sigma_w=1.2, sigma_b=0.4)
        np.testing.assert_allclose(fv.nngp_kernel(spec, x[:, None, None, :]), dense, rtol=1e-13)


def test_channels_and_the_form_of_the_input_change_nothing(images):
    grey = images[..., 0]
    wanted = fv.nngp_kernel(fv.CNN((1, 1)), grey)
    rows = grey.reshape(4, 20)
    for spec, x in [
        (fv.CNN((50, 7)), grey[..., None]),
        (fv.CNN((1, 1), image_shape=(5, 4)), rows),
        (fv.CNN((1, 1), image_shape=(5, 4)), grey),
        (fv.CNN((1, 1), image_shape=(5, 4, 1)), rows),
    ]:
        np.testing.assert_array_equal(fv.nngp_kernel(spec, x), wanted)


@pytest.mark.parametrize(
    "spec",
    [
        fv.CNN((16,), sigma_w=1.2, sigma_b=0.5),
        fv.CNN((16,), sigma_w=1.2, sigma_b=0.5, pooling=None),
        fv.CNN((16,), filter=(2, 3), stride=(2, 1), padding="VALID", pooling=None),
    ],
)
def test_networks_of_one_convolution_have_this_covariance_at_any_width(images, spec):
    # Given the input, the channels of the first layer are independent and exactly Gaussian.
    keys = jax.random.split(jax.random.key(0), 2000)
    x = images.astype(np.float32)
    outputs = jax.jit(jax.vmap(lambda key: spec.apply(spec.init(key, x.shape[1:]), x)))(keys)
    outputs = np.asarray(outputs, np.float64)
    products = np.einsum("si,sj->sij", outputs, outputs)
    error = products.std(axis=0) / np.sqrt(len(keys))
    assert (np.abs(products.mean(axis=0) - fv.nngp_kernel(spec, images)) < 5 * error).all()
    assert (error < 0.1 * np.diag(fv.nngp_kernel(spec, images)).max()).all()


@pytest.mark.parametrize("pooling", ["global", None])
def test_wide_networks_of_two_convolutions_have_this_covariance(images, pooling):
    spec = fv.CNN((256, 256), pooling=pooling, sigma_w=1.2, sigma_b=0.5)
    keys = jax.random.split(jax.random.key(0), 300)  # standard error 8%, above 1/width
    x = images.astype(np.float32)

    @jax.jit
    def outputs(keys):
        return jax.lax.map(lambda key: spec.apply(spec.init(key, x.shape[1:]), x), keys)

    drawn = np.asarray(outputs(keys), np.float64)
    products = np.einsum("si,sj->sij", drawn, drawn)
    error = products.std(axis=0) / np.sqrt(len(keys))
    assert (np.abs(products.mean(axis=0) - fv.nngp_kernel(spec, images)) < 5 * error).all()


@pytest.mark.parametrize("pooling", ["global", None])
def test_what_the_readout_multiplies_has_this_kernel_by_monte_carlo(images, pooling):
    spec = fv.CNN((30,), pooling=pooling, sigma_w=1.1, sigma_b=0.3)
    keys = jax.random.split(jax.random.key(1), 1000)
    x = images.astype(np.float32)
    features = jax.jit(jax.vmap(lambda key: spec.features(spec.init(key, x.shape[1:]), x)))(keys)
    features = np.asarray(features, np.float64)
    products = np.einsum("snc,smc->snm", features, features) / features.shape[-1]
    products = spec.sigma_w**2 * products + spec.sigma_b**2
    kernel, spread = fv.nngp_kernel(spec, images), products.std(axis=0)
    assert (np.abs(products.mean(axis=0) - kernel) < 5 * spread / np.sqrt(len(keys))).all()
    estimate = fv.monte_carlo_kernel(jax.random.key(2), spec, images, 100)
    assert (np.abs(estimate - kernel) < 5 * spread / np.sqrt(100)).all()
    assert (spread / np.sqrt(100) < 0.05 * np.diag(kernel).max()).all()


def test_inputs_that_do_not_fit_are_named(images):
    with pytest.raises(ValueError, match=r"\(20,\), wanted images.*image_shape"):
        fv.nngp_kernel(fv.CNN(), images[..., 0].reshape(4, 20))
    with pytest.raises(ValueError, match=r"\(5, 4, 2\), wanted \(5, 4\)"):
        fv.nngp_kernel(fv.CNN(image_shape=(5, 4)), images)
    with pytest.raises(ValueError, match="layer 2 gets images of 3 x 2 pixels.*SAME"):
        fv.nngp_kernel(fv.CNN((8, 8), padding="VALID"), images)
    with pytest.raises(ValueError, match=r"x2: got inputs of shape \(4, 5, 2\)"):
        fv.nngp_kernel(fv.CNN(), images, images.transpose(0, 2, 1, 3))
    with pytest.raises(ValueError, match="input 1 is zero and sigma_b = 0"):
        fv.nngp_kernel(fv.CNN(sigma_b=0.0), images * [[[[1]]], [[[0]]], [[[1]]], [[[1]]]])


@pytest.mark.slow
def test_mnist_with_global_average_pooling_is_the_kernel_of_its_networks():
    rows = np.random.default_rng(0).permutation(5000)[:12]
    x = fv.data.load("mnist5k").x[rows]
    spec = fv.CNN((64,), image_shape=(28, 28))
    kernel = fv.nngp_kernel(spec, x)
    estimates = [fv.monte_carlo_kernel(jax.random.key(i), spec, x, 20) for i in range(20)]
    error = np.std(estimates, axis=0, ddof=1) / np.sqrt(len(estimates))
    assert (np.abs(np.mean(estimates, axis=0) - kernel) < 5 * error).all()
    assert (error < 0.02 * kernel).all()
