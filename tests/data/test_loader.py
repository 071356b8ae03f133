import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.data.pictures import THREE, crowd_of_spots, on_disk, people, spotted
from utils.core.contract import ModelSpec
from utils.core.geometry import inverse, move_points
from utils.data.batches import collate, draw_size, rescaled
from utils.data.dataset import Ticket
from utils.data.image_sources import Drawn
from utils.data.loader import Loading, evaluation_loader, training_loader
from utils.data.recipe import Augment
from utils.data.sampler import class_weights, image_weights

IMAGES = ModelSpec("yolo_pose", THREE, input_size=(96, 128))
PERSONS = ModelSpec("simdr", THREE, view="person", input_size=(64, 48))
RECIPE = Augment(mosaic=0.7, mixup=0.3, degrees=10, translate=0.1, scale=0.4, hsv_s=0.5, fliplr=0.5, half_body=0.3)


@pytest.fixture
def records(tmp_path):
    """Eleven pictures; the fourth shows nobody."""
    rng = np.random.default_rng(0)
    pictures = [crowd_of_spots(rng, tuple(int(side) for side in rng.integers(150, 240, 2))) for _ in range(11)]
    nobody = people([(0, 0, 0)] * 3).chosen(np.zeros(1, bool))
    pictures[3] = spotted((150, 160), nobody), nobody
    return on_disk(tmp_path, *pictures)


def assert_same(first, second) -> None:
    assert torch.equal(first.images, second.images)
    for name in ("image_index", "boxes", "keypoints", "visibility", "areas", "classes"):
        assert torch.equal(getattr(first.targets, name), getattr(second.targets, name))
    assert [origin.image_id for origin in first.origins] == [origin.image_id for origin in second.origins]


@pytest.mark.parametrize("spec", [IMAGES, PERSONS], ids=["images", "crops"])
def test_the_same_seed_gives_the_same_batches_for_any_number_of_workers(records, spec):
    streams = []
    for workers in (0, 1, 2):
        loader = training_loader(records, spec, RECIPE, Loading(batch_size=4, workers=workers, seed=5))
        streams.append([batch for epoch in (0, 1) for batch in loader.epoch(epoch)])
    assert len(streams[0]) == 2 * len(loader)
    for stream in streams[1:]:
        for first, second in zip(streams[0], stream, strict=True):
            assert_same(first, second)
    assert not torch.equal(streams[0][0].images, streams[0][len(loader)].images)


def test_an_epoch_goes_on_in_the_middle_with_the_same_batches(records):
    loader = training_loader(records, IMAGES, RECIPE, Loading(batch_size=2, workers=2, seed=5))
    whole = list(loader.epoch(3))
    stopped = loader.epoch(3)
    for _ in range(2):
        next(stopped)
    for first, second in zip(whole[2:], loader.epoch(3, start=2), strict=True):
        assert_same(first, second)


def test_loading_leaves_the_global_random_numbers_alone(records):
    loader = training_loader(records, IMAGES, RECIPE, Loading(batch_size=4, workers=1))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  the global one on purpose
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    list(loader.epoch(0))
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


def test_a_batch_has_bytes_for_the_device_and_flat_targets(records):
    batch = next(training_loader(records, IMAGES, RECIPE, Loading(batch_size=4, workers=0)).epoch(0))
    assert batch.images.dtype == torch.uint8 and batch.images.shape == (4, 3, 96, 128)
    assert batch.images.is_contiguous()
    assert batch.targets.keypoints.shape[1:] == (THREE.count, 2)
    assert batch.targets.image_index.max() < 4 and len(batch.origins) == 4


def test_images_without_people_stay_in_the_batches(records):
    loader = evaluation_loader(records, IMAGES, Loading(batch_size=4, workers=0))
    batches = list(loader)
    assert [len(batch.origins) for batch in batches] == [4, 4, 3]
    assert batches[0].origins[3].image_id == 103
    assert not (batches[0].targets.image_index == 3).any()


def test_evaluation_targets_go_back_to_the_annotations(records):
    for rectangular in (False, True):
        loader = evaluation_loader(
            records, IMAGES, Loading(batch_size=3, workers=0, rectangular=rectangular, stride=32)
        )
        found = 0
        for batch in loader:
            assert batch.images.shape[-1] % 32 == 0 and batch.images.shape[-2] % 32 == 0
            for place, origin in enumerate(batch.origins):
                mine = batch.targets.image_index == place
                points = batch.targets.keypoints[mine].numpy()
                expected = records.persons(origin.image_id - 100).keypoints
                assert np.allclose(move_points(points, inverse(origin.to_input)), expected, atol=1e-2)
                found += len(points)
        assert found == records.person_count


def test_rectangular_batches_are_smaller_than_square_ones(records):
    square = ModelSpec("yolo_pose", THREE, input_size=(256, 256))
    plain = sum(batch.images.numel() for batch in evaluation_loader(records, square, Loading(4, workers=0)))
    flat = sum(
        batch.images.numel() for batch in evaluation_loader(records, square, Loading(4, workers=0, rectangular=True))
    )
    assert flat < plain


@pytest.mark.parametrize("spec", [IMAGES, PERSONS], ids=["images", "crops"])
@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_images_are_named_once_and_the_epochs_go_on(records, spec, workers, caplog, tmp_path):
    (tmp_path / "002.png").write_bytes(b"these are words")
    (tmp_path / "005.png").unlink()
    loader = training_loader(records, spec, RECIPE, Loading(batch_size=4, workers=workers))
    with caplog.at_level(logging.WARNING):
        batches = [batch for epoch in range(3) for batch in loader.epoch(epoch)]
    assert len(batches) == 3 * len(loader)
    assert sum(len(batch.origins) for batch in batches) == 3 * len(loader.samples)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2 == loader.damaged_count
    assert sum("002.png: not an image" in message for message in messages) == 1
    assert sum("005.png: cannot be read" in message for message in messages) == 1


def test_a_sample_does_not_depend_on_when_a_damaged_image_is_found(records, tmp_path):
    (tmp_path / "004.png").write_bytes(b"")
    fresh, seasoned = (training_loader(records, IMAGES, RECIPE, Loading(workers=0)).samples for _ in range(2))
    seasoned.damaged[4] = 1
    for index in range(11):
        first, second = fresh[Ticket(index, 1)], seasoned[Ticket(index, 1)]
        assert np.array_equal(first.image, second.image) and np.array_equal(first.boxes, second.boxes)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_left_out_of_evaluation_but_counts(records, workers, caplog, tmp_path):
    for number in (4, 5, 6, 7):
        (tmp_path / f"{number:03d}.png").write_bytes(b"")
    loader = evaluation_loader(records, IMAGES, Loading(batch_size=4, workers=workers))
    batches = list(loader)  # the second batch has nothing left
    assert [len(batch.origins) for batch in batches] == [4, 3]
    assert loader.image_ids == list(range(100, 111))
    assert len(caplog.records) == 4 == loader.damaged_count


def test_a_set_with_no_usable_image_says_so(records, tmp_path):
    for file in tmp_path.glob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="none of the 11 images can be used"):
        next(training_loader(records, IMAGES, RECIPE, Loading(workers=0)).epoch(0))


def test_a_users_own_step_comes_last_and_is_checked(records):
    def inverted(sample, rng):
        return replace(sample, image=255 - sample.image)

    plain = next(training_loader(records, IMAGES, RECIPE, Loading(workers=0)).epoch(0))
    own = next(training_loader(records, IMAGES, RECIPE, Loading(workers=0), finish=inverted).epoch(0))
    assert torch.equal(own.images, 255 - plain.images)
    loader = training_loader(records, IMAGES, RECIPE, Loading(workers=0), finish=lambda sample, rng: sample.image)
    with pytest.raises(ValueError, match="expected a Sample"):
        next(loader.epoch(0))


def test_the_last_epochs_follow_the_plain_recipe(records):
    loader = training_loader(records, IMAGES, Augment(mosaic=1.0), Loading(workers=0), plain_from=5)
    moved, plain = (next(loader.epoch(epoch)).origins for epoch in (4, 5))
    assert all(max(origin.size) * origin.to_input[0, 0] <= 128 for origin in plain)
    assert [origin.to_input.tolist() for origin in moved] != [origin.to_input.tolist() for origin in plain]


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_cache_shared_by_the_workers_changes_nothing_but_the_time(records, kind, tmp_path):
    plain = training_loader(records, IMAGES, RECIPE, Loading(4, workers=0))
    cached = training_loader(
        records, IMAGES, RECIPE, Loading(4, workers=2, cache=kind, cache_folder=str(tmp_path / "kept"))
    )
    for epoch in range(2):
        for first, second in zip(plain.epoch(epoch), cached.epoch(epoch), strict=True):
            assert_same(first, second)


@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize("spec", [IMAGES, PERSONS], ids=["images", "crops"])
def test_evaluation_and_crops_see_whole_images_from_a_cache_too(records, spec, kind, tmp_path):
    """Inputs half as large as the images, which a cache for mosaics would keep smaller."""
    small = replace(spec, input_size=(64, 64))
    kept = Loading(4, workers=0, cache=kind, cache_folder=str(tmp_path / "kept"))
    plain, cached = (list(evaluation_loader(records, small, loading)) for loading in (Loading(4, workers=0), kept))
    if spec.view == "person":
        for found, loading in ((plain, Loading(4, workers=0)), (cached, kept)):
            found += training_loader(records, small, RECIPE, loading).epoch(0)
    for first, second in zip(plain, cached, strict=True):
        assert_same(first, second)
        for one, other in zip(first.origins, second.origins, strict=True):
            assert np.allclose(one.to_input, other.to_input)


def test_crops_show_one_person_each_and_keep_the_score_of_their_box(records):
    scores = np.linspace(0.1, 1, records.person_count).astype(np.float32)
    loader = evaluation_loader(replace(records, scores=scores), PERSONS, Loading(5, workers=0), detected=True)
    batches = list(loader)
    assert sum(len(batch.origins) for batch in batches) == records.person_count
    assert all(torch.equal(batch.targets.image_index, torch.arange(len(batch.origins))) for batch in batches)
    found = [origin.box_score for batch in batches for origin in batch.origins]
    assert np.allclose(found, scores)
    assert batches[0].images.shape[1:] == (3, 64, 48)


def test_only_training_crops_need_a_labelled_keypoint(records):
    unlabelled = replace(records, visibility=np.zeros_like(records.visibility))
    assert len(evaluation_loader(unlabelled, PERSONS, Loading(5, workers=0)).samples) == records.person_count
    with pytest.raises(ValueError, match="nothing to train on"):
        training_loader(unlabelled, PERSONS, RECIPE, Loading(workers=0))


def test_multi_scale_moves_people_with_their_picture(records):
    batch = next(training_loader(records, IMAGES, RECIPE, Loading(4, workers=0)).epoch(0))
    larger = rescaled(batch, (144, 256))
    assert larger.images.shape == (4, 3, 144, 256) and larger.images.dtype == torch.uint8
    assert torch.allclose(larger.targets.keypoints, batch.targets.keypoints * torch.tensor([2, 1.5]))
    assert torch.allclose(larger.targets.areas, batch.targets.areas * 3)
    assert np.allclose(larger.origins[0].to_input, np.diag([2, 1.5, 1]) @ batch.origins[0].to_input)
    assert rescaled(batch, (96, 128)) is batch


def test_multi_scale_sizes_are_whole_strides_in_the_range():
    sizes = {draw_size(640, np.random.default_rng(seed), low=0.5, high=1.5, stride=64) for seed in range(300)}
    assert sizes == set(range(320, 961, 64))


def test_image_weights_count_persons_by_how_rare_their_class_is(records):
    weights = image_weights(records, class_weights(records, 1))
    assert weights[3] == 0 and np.isclose(weights.sum(), records.person_count)
    loader = training_loader(records, IMAGES, Augment(), Loading(4, workers=0))
    seen = [origin.image_id for batch in loader.epoch(0, weights=weights) for origin in batch.origins]
    assert len(seen) == 11 and 103 not in seen
    low = class_weights(records, 1, precision=[0.9])
    assert np.isclose(low.sum(), 1)


def test_a_batch_of_nothing_is_none():
    assert collate([None, None]) is None


@pytest.mark.parametrize("spec", [IMAGES, PERSONS])
def test_a_loader_that_weighs_by_class_does_so_in_every_epoch(records, spec):
    loading = Loading(batch_size=4, workers=0)
    loader = training_loader(records, spec, Augment(labelled_only=False), loading, by_class=True)
    assert len(loader.weights) == len(loader.samples)
    empty = str(records.image_id(3))  # nobody is on it
    for epoch in range(3):
        seen = {str(origin.image_id) for batch in loader.epoch(epoch) for origin in batch.origins}
        assert empty not in seen
    with pytest.raises(ValueError, match="weights by class need annotated files"):
        training_loader(Drawn(OneSpot()), IMAGES, Augment(), loading, by_class=True)


class OneSpot:
    """A drawing without end that is never asked for a picture here."""

    def __len__(self):
        return 3
