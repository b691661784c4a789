"""Stage 1 with joint hints, and with a critic on its maps."""

import numpy as np
import pytest
from tiny import assert_equal_arrays, shaken
from trainers import first_batch, trainer_of

from portrait_tf.config import with_changes
from portrait_tf.geometry import joint_parts
from portrait_tf.labels import JOINTS, LABELS
from portrait_tf.layers import heatmap_peaks, joint_heatmaps
from portrait_tf.models import parsing
from portrait_tf.models.parsing import (
    GUIDANCE,
    HINT_SIGMA,
    HINT_STRENGTH,
    find_structure,
    parsing_probabilities,
)
from portrait_tf.runs.checkpoint import restore_checkpoint, save_checkpoint
from portrait_tf.runs.folder import build_network

HINTS = ["parsing.network.hints=true", "parsing.network.decoder_dilations=[1]"]
CRITIC = [
    "parsing.loss.adversarial=0.1",
    "parsing.loss.group_overlap=1",
    "parsing.discriminator_widths=[8, 8]",
]


def trainer(config, *changes):
    return trainer_of("parsing", config, *HINTS, *changes)


@pytest.fixture
def hinted(tiny_config):
    """A network on which hints have an effect."""
    return shaken(build_network("parsing", with_changes(tiny_config, HINTS)), 0.1)


def photo(network):
    rng = np.random.default_rng(1)
    image = rng.uniform(-1, 1, (2, *network.size, 3)).astype(np.float32)
    mask = np.zeros((2, *network.size, 1), np.float32)
    mask[:, 16:] = 1
    return image * (1 - mask), mask


def test_a_network_is_asked_again_with_the_joints_that_it_found(hinted):
    image, mask = photo(hinted)
    inputs = {"image": image, "mask": mask}
    empty = np.zeros((2, *hinted.input["hints"].shape[1:]), np.float32)
    first = hinted({**inputs, "hints": empty}, training=False)
    joints = np.array(heatmap_peaks(first[f"pose_{hinted.rounds}"]))
    joints[..., 2] = joints[..., 2] > 0.15
    drawn = joint_heatmaps(joints, hinted.input["hints"].shape[1:3], HINT_SIGMA)
    second = hinted({**inputs, "hints": np.array(drawn)}, training=False)
    found = find_structure(hinted, image, mask)
    np.testing.assert_allclose(found["parsing"], second["parsing"], atol=1e-4)
    assert np.abs(np.array(found["parsing"]) - first["parsing"]).max() > 1e-2


def test_a_joint_that_is_given_takes_the_place_of_the_one_found(hinted):
    image, mask = photo(hinted)
    given = np.zeros((2, 16, 3), np.float32)
    same = find_structure(hinted, image, mask, given)
    found = find_structure(hinted, image, mask)
    np.testing.assert_allclose(same["parsing"], found["parsing"], atol=1e-5)
    maps = []
    for x in (0.2, 0.8):
        given[1, 5] = x, 0.9, 1
        maps.append(np.array(find_structure(hinted, image, mask, given)["parsing"]))
    np.testing.assert_allclose(maps[0][0], maps[1][0], atol=1e-5)
    assert np.abs(maps[0][1] - maps[1][1]).max() > 1e-2


def test_stage_2_trains_on_maps_around_the_true_joints(hinted, tiny_config, portraits):
    trainer = trainer_of("completion", tiny_config, "completion.predicted_parsing=1")
    trainer.parsing_network = hinted
    batch = first_batch(tiny_config, portraits)
    maps = []
    for trainer.hinted, training in ((0.0, True), (1.0, True), (1.0, False)):
        maps.append(np.array(trainer.prepare(batch, training)["parsing"]))
    image, mask = batch["image"] * (1 - batch["mask"]), batch["mask"]
    joints = joint_parts(np.array(batch["joints"]), hinted.size)
    told = find_structure(hinted, image, mask, joints)
    wanted = parsing_probabilities(told, hinted.size)
    np.testing.assert_allclose(maps[1], wanted, atol=1e-5)
    assert np.abs(maps[0] - maps[1]).max() > 1e-2
    np.testing.assert_array_equal(maps[0], maps[2])


def test_a_joint_that_is_given_is_a_strong_hint_and_guides(hinted):
    image, mask = photo(hinted)
    given = np.zeros((2, 16, 3), np.float32)
    given[0, 5] = 0.4, 0.8, 1
    size = hinted.input["hints"].shape[1:3]
    inputs = {"image": image, "mask": mask}
    empty = np.zeros((2, *size, 16), np.float32)
    first = hinted({**inputs, "hints": empty}, training=False)
    joints = np.array(heatmap_peaks(first[f"pose_{hinted.rounds}"]))
    joints[..., 2] = joints[..., 2] > 0.15
    joints[0, 5] = 0.4, 0.8, HINT_STRENGTH
    drawn = np.array(joint_heatmaps(joints, size, HINT_SIGMA))
    second = hinted({**inputs, "hints": drawn}, training=False)
    first, second = (np.array(one["parsing"]) for one in (first, second))
    found = np.array(find_structure(hinted, image, mask, given)["parsing"])
    np.testing.assert_allclose(found[1], second[1], atol=1e-4)
    np.testing.assert_allclose(found[0, :7], second[0, :7], atol=1e-4)
    guided = second[0] + GUIDANCE * (second[0] - first[0])
    # Of the background, the limb is taken away.
    np.testing.assert_allclose(found[0, 9:, :, 1:], guided[9:, :, 1:], atol=1e-4)
    assert np.abs(found[0, 9:] - second[0, 9:]).max() > 1e-3


def test_limbs_lead_to_joints_that_are_given(hinted, monkeypatch):
    image, mask = photo(hinted)
    given = np.zeros((2, 16, 3), np.float32)
    given[0, JOINTS.index("L_Wrist")] = 0.75, 12.5 / 16, 1
    given[0, JOINTS.index("L_Elbow")] = 0.25, 12.5 / 16, 1
    given[1, JOINTS.index("L_Ankle")] = 12.5 / 16, 0.9, 1
    given[1, JOINTS.index("L_Knee")] = 12.5 / 16, 0.3, 1

    def logits():
        return np.array(find_structure(hinted, image, mask, given)["parsing"])

    found = logits()
    for name in ("LIMBS", "HANDS", "FOREARMS"):
        monkeypatch.setattr(parsing, name, 0.0)
    added = found - logits()
    left = LABELS.index("LeftArm")
    assert not np.delete(added, [0, left], axis=-1).any()
    # The hand beyond the wrist, the forearm before it; nothing in the known half.
    row = added[0, 12]
    assert row[12:15, left].min() > 10 and 5 < row[6:10, left].max() < 7
    np.testing.assert_allclose(row[5:12, 0], -5, atol=1)
    assert added[1, 9:13, 12, 0].max() < -4 and not added[1, ..., left].any()
    assert not added[:, :8].any() and np.abs(added[0, 15]).max() < 1


def test_a_part_of_the_samples_is_told_of_a_part_of_the_joints(tiny_config, portraits):
    always = ["parsing.hinted=1", "parsing.hint_error=0"]
    told_all = trainer(tiny_config, *always)
    batch = first_batch(tiny_config, portraits)
    height, width = size = told_all.network.size
    there = np.array(batch["joints"])[..., 2] > 0
    drawn = joint_heatmaps(
        joint_parts(batch["joints"], size),
        (height // 4, width // 4),
        HINT_SIGMA,
    )
    told = []
    for step in range(20):
        told_all.step = step
        hints = np.array(told_all.prepare(batch, training=True)["hints"])
        shown = hints.max(axis=(1, 2)) > 0
        np.testing.assert_allclose(
            hints, np.array(drawn) * shown[:, None, None], atol=1e-6
        )
        told.append(shown[there].mean())
    assert 0.3 < np.mean(told) < 0.7 and np.std(told) > 0.02
    untold = trainer(tiny_config, "parsing.hinted=0")
    assert not np.array(untold.prepare(batch, training=True)["hints"]).any()


def test_a_critic_learns_beside_the_network_and_is_in_its_checkpoint(
    tiny_config, portraits, tmp_path
):
    one = trainer(tiny_config, *CRITIC)
    batch = first_batch(tiny_config, portraits)
    before = [weight.numpy() for weight in one.critics.trainable_variables]
    for _ in range(3):
        logs = one.train_step(batch)
    assert {"adversarial", "critic", "group_overlap"} <= set(logs)
    assert all(np.isfinite(float(value)) for value in logs.values())
    after = [weight.numpy() for weight in one.critics.trainable_variables]
    assert any(np.abs(a - b).max() > 1e-5 for a, b in zip(before, after, strict=True))
    save_checkpoint(one, tmp_path / "checkpoint.npz")
    other = trainer(tiny_config, *CRITIC)
    restore_checkpoint(other, tmp_path / "checkpoint.npz")
    optimizers = (one.critic_optimizer, other.critic_optimizer)
    assert_equal_arrays(*(each.variables for each in optimizers))


def test_the_critic_sees_maps_that_differ_in_the_hole_alone(tiny_config, portraits):
    one = trainer(tiny_config, *CRITIC)
    batch = first_batch(tiny_config, portraits)
    logits = np.random.default_rng(0).normal(size=(4, 16, 16, 20)).astype(np.float32)
    inputs = one.prepare(batch, training=False)
    real, fake = one.critic_inputs(inputs, {"answers": [{"parsing": logits}]})
    hole = np.array(real["mask"])[..., 0] > 0
    difference = np.abs(np.array(real["parsing"]) - fake["parsing"]).max(-1)
    assert difference[hole].min() > 0.01 and not difference[~hole].any()
    np.testing.assert_allclose(np.array(fake["parsing"]).sum(-1), 1, atol=1e-5)
    covered = np.array(batch["mask"])[..., 0].reshape(4, 16, 2, 16, 2).min((2, 4)) > 0
    assert covered.any() and not np.array(real["image"])[covered].any()
