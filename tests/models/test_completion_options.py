"""What `CompletionNetworkConfig` chooses among, alone and through the whole chain."""

import contextlib
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import shaken

from export.saved_model import open_session
from portrait_tf.compat import variable_path
from portrait_tf.config import parse_config, with_changes
from portrait_tf.data.dataset import training_dataset, validation_dataset
from portrait_tf.data.synthetic import synthesize
from portrait_tf.errors import PortraitError
from portrait_tf.models import CompletionNetwork
from portrait_tf.models.completion import completion_inputs
from portrait_tf.runs.folder import build_network
from portrait_tf.runs.weights import load_bundled
from portrait_tf.training.build import build_trainer
from portrait_tf.training.previews import Preview

TINY = {"size": (32, 48), "widths": (8, 8, 8), "dilations": (1, 2)}
# Without a pre-fill, whose loops take longer to build than all the rest.
ALL = {
    "prefill": "none",
    "convolution": "gated",
    "attention": "same_label",
    "noise": 2,
    "sharpness": 2.0,
    "upsampling": "smooth_shuffle",
    "texture_noise": True,
}
OPTIONS = [
    {},
    ALL,
    {"parsing": False, "prefill": "plain", "attention": "any", "noise": 1},
    {
        "prefill": "none",
        "convolution": "separable",
        "stem": 4,
        "blocks": 1,
    },
]
ALL_CHANGES = [f"completion.network.{name}={value}" for name, value in ALL.items()]


def named(options):
    return "-".join(str(value) for value in options.values())


def inputs_for(network, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros((batch, *network.size, 1), np.float32)
    mask[:, 9:22, 10:32] = 1
    image = rng.uniform(-1, 1, (batch, *network.size, 3)).astype(np.float32)
    parsing = rng.dirichlet(np.full(20, 0.1), (batch, *network.size))
    return completion_inputs(
        network, image * (1 - mask), parsing.astype(np.float32), mask
    )


def trainer_of(config):
    network, stage_1 = (build_network(one, config) for one in ("completion", "parsing"))
    return build_trainer("completion", network, [stage_1], config)


@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_a_fresh_network_answers_its_prefill(options):
    """Also with noise: what it adds begins at zero."""
    network = CompletionNetwork(**TINY, **options)
    x = inputs_for(network)
    painted = np.array(network(x, training=True)["painted"])
    known = np.repeat(x["mask"] == 0, 3, axis=-1)
    np.testing.assert_allclose(painted[known], x["image"][known], atol=1e-5)


def test_each_part_has_an_effect():
    network = shaken(CompletionNetwork(**TINY, **ALL), 0.1)
    x = inputs_for(network)
    painted = np.array(network(x)["painted"])
    for name in ("stride2_gate_conv", "middle_block1_1_gate_conv", "attention"):
        layer = network.get_layer(name)
        kept = layer.get_weights()
        layer.set_weights([0.5 * w for w in kept])
        assert np.abs(np.array(network(x)["painted"]) - painted).max() > 1e-4
        layer.set_weights(kept)
    np.testing.assert_allclose(np.array(network(x)["painted"]), painted, atol=1e-6)
    assert np.abs(np.array(network(x, training=True)["painted"]) - painted).max() > 0.1


def test_the_bundled_network_answers_as_when_it_was_published():
    """What it was trained as must stay what the code makes of it."""
    network = load_bundled("completion")
    portrait = synthesize(0, (192, 128))
    mask = np.zeros((1, 192, 128, 1), np.float32)
    mask[:, 100:190, 30:90] = 1
    image = (portrait.photo[None] / 127.5 - 1).astype(np.float32) * (1 - mask)
    parsing = np.eye(20, dtype=np.float32)[np.minimum(portrait.parsing, 19)][None]
    inputs = completion_inputs(network, image, parsing, mask)
    painted = np.array(network(inputs)["painted"])[0]
    expected = [
        [-0.7450, -0.6521, -0.4272],
        [-0.4373, -0.3858, -0.4349],
        [0.5139, 0.5431, 0.3222],
        [0.7345, 0.7088, 0.6647],
    ]
    np.testing.assert_allclose(
        painted[[110, 140, 170, 185], [40, 60, 70, 80]], expected, atol=1e-3
    )


class TestWithoutTheMap:
    def test_the_map_is_no_input(self):
        network = CompletionNetwork(**TINY, parsing=False, prefill="none")
        assert set(network.input) == {"image", "mask"} and not network.takes_parsing
        assert CompletionNetwork(**TINY).takes_parsing
        assert set(completion_inputs(network, 1, 2, 3)) == {"image", "mask"}
        assert completion_inputs(CompletionNetwork(**TINY), 1, 2, 3) == {
            "image": 1, "parsing": 2, "mask": 3,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"parsing": False}, "prefill parsing needs the map"),
            (
                {"parsing": False, "prefill": "plain", "attention": "same_label"},
                "attention same_label needs the map",
            ),
            ({"attention": "all"}, "'attention': .*'any' or 'same_label' .*'all'"),
            ({"convolution": "partial"}, "'convolution': .*'plain', 'gated' or"),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, options, message):
        with pytest.raises(PortraitError, match=f"CompletionNetwork: {message}"):
            CompletionNetwork(**TINY, **options)
        with pytest.raises(PortraitError) as caught:
            parse_config({"completion": {"network": options}}, "mine.yaml")
        assert str(caught.value).startswith("mine.yaml: 'completion.network")

    def test_the_chain_works(self, tiny_config, portraits, tmp_path):
        with pytest.raises(PortraitError, match="prefill parsing needs the map"):
            with_changes(
                tiny_config,
                ["completion.network={parsing: false, prefill: parsing}"],
            )
        config = with_changes(tiny_config, ["completion.network.parsing=false"])
        trainer = trainer_of(config)
        data = training_dataset(portraits, config, 2, 0, 2, 0)
        trainer.fit(data, epochs=1, steps_per_epoch=2, verbose=0, shuffle=False)
        batch = next(validation_dataset(portraits, config, 2, 2, 0).as_numpy_iterator())
        preview = Preview(tmp_path, batch, trainer.parsing_network, trainer.network)
        assert preview.draw().shape[-1] == 3


def test_all_options_run_in_a_session_as_they_do_in_keras(tmp_path):
    network = shaken(CompletionNetwork(**TINY, **ALL), 0.1)
    x = inputs_for(network)
    archive = keras.export.ExportArchive()
    archive.track(network)

    def paint(image, mask, parsing):
        inputs = completion_inputs(network, image, parsing, mask)
        return network(inputs, training=False)

    specs = [
        tf.TensorSpec((None, *x[name].shape[1:]), name=name)
        for name in ("image", "mask", "parsing")
    ]
    archive.add_endpoint("paint", paint, specs)
    with contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(str(tmp_path))
    with open_session(tmp_path) as run:
        found = run("paint", x)["painted"]
    np.testing.assert_allclose(found, np.array(network(x)["painted"]), atol=1e-4)


def test_all_options_learn_four_people_by_heart(tiny_config, portraits):
    config = with_changes(
        tiny_config,
        ["completion.training.steps=60", "completion.training.batch_size=4",
         "completion.network.widths=[16,32,48]", "completion.predicted_parsing=0",
         "completion.training.optimizer.learning_rate=0.003",
         "completion.schedule.reconstruction_steps=60",
         "completion.loss.perceptual=0", *ALL_CHANGES],
    )  # fmt: skip
    keras.utils.set_random_seed(0)
    trainer = trainer_of(config)
    attention = trainer.network.get_layer("attention")
    before = attention.get_weights()
    batch = training_dataset(portraits, config, 4, 0, 1, 0)
    history = trainer.fit(
        batch.repeat(), epochs=6, steps_per_epoch=10, verbose=0, shuffle=False
    ).history
    # Of the first ten steps' mean; 0.39 to 0.58 on both stacks, as what is blurred
    # learns details later.
    assert history["l1_hole"][-1] < 0.7 * history["l1_hole"][0]
    # Also what was behind the projection that begins at zero.
    for name, one, two in zip(
        attention.weights, before, attention.get_weights(), strict=True
    ):
        # The softmax does not see what is added to every key's logit.
        if variable_path(name) != "attention/key/bias":
            assert np.abs(two - one).max() > 1e-3, variable_path(name)
