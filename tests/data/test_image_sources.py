from types import SimpleNamespace

import numpy as np
import pytest

from tests.data.pictures import THREE, crowd_of_spots, middle_of_spot, on_disk, people, spotted
from utils.core import images
from utils.core.geometry import chain, inverse
from utils.data.augment import single
from utils.data.image_cache import DiskCache, MemoryCache, kept_factors
from utils.data.image_sources import Damaged, Drawn, Files, Recent
from utils.data.recipe import Augment, Movement


def test_a_photograph_shown_small_is_decoded_small_and_its_points_stay_exact(tmp_path):
    persons = people([(403.0, 210.0, 2), (611.0, 507.0, 2), (90.0, 130.0, 2)], box=(0, 0, 799, 601))
    image = images.resize(spotted((151, 201), people([(0, 0, 0)] * 3)), (603, 803))
    y, x = np.mgrid[:603, :803] + 0.5
    for px, py in persons.keypoints[0]:
        image = np.maximum(
            image, (114 + 130 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 288))[..., None].astype(np.uint8)
        )
    source = Files(on_disk(tmp_path, (image, persons), suffix=".jpg"))
    for scale, factor in ((1.0, 1), (0.51, 1), (0.5, 2), (0.25, 4), (0.1, 8)):
        small, reduction = source.image(0, scale)
        assert small.shape[:2] == (-(-603 // factor), -(-803 // factor))
        assert np.allclose(reduction[[0, 1], [0, 1]], 1 / factor)
        for point in persons.keypoints[0]:
            found = middle_of_spot(small, point / factor, reach=48 // factor)
            assert np.abs(found * factor - point).max() < 0.8  # pixels of the original
    for scale in (0.6, 0.3, 0.15):
        size = (round(603 * scale), round(803 * scale))
        sample = single(source, 0, size=size, movement=Movement(), augment=Augment())
        for point in sample.keypoints[0]:
            assert np.abs(middle_of_spot(sample.image, point, reach=int(48 * scale)) - point).max() < 0.15


def test_a_png_and_a_turned_photograph_with_an_odd_side_are_decoded_whole(tmp_path):
    image, persons = crowd_of_spots(np.random.default_rng(0), (201, 301))
    source = Files(on_disk(tmp_path, (image, persons)))
    assert source.image(0, 0.1)[0].shape == (201, 301, 3)
    jpeg = np.frombuffer(b"\xff\xd8\xff\xe1\x00\x10Exif\0\0 and so on", np.uint8)
    assert not images._reduces_exactly(jpeg, (201, 300), 2)
    assert images._reduces_exactly(jpeg, (200, 300), 2)


def test_a_photograph_annotated_as_it_is_stored_is_not_turned(tmp_path):
    image, persons = crowd_of_spots(np.random.default_rng(0), (120, 200))
    records = on_disk(tmp_path, (image, persons), suffix=".jpg")
    file = tmp_path / "000.jpg"
    plain = file.read_bytes()
    turned = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6: by a quarter
    block = b"Exif\0\0" + turned
    file.write_bytes(plain[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + plain[2:])
    assert images.read(file).shape == (200, 120, 3)
    assert Files(records).image(0, 1.0)[0].shape == (120, 200, 3)


def test_a_reduced_copy_averages_whole_blocks_from_the_corner():
    image = 2 * np.arange(5 * 4, dtype=np.uint8).reshape(5, 4, 1).repeat(3, 2)
    assert images.reduced(image, 2)[..., 0].tolist() == [[5, 9], [21, 25], [33, 37]]
    assert images.reduced(image, 1) is image


@pytest.mark.parametrize("damage", ["missing", "empty", "not an image", "cut short", "another size"])
def test_a_damaged_image_is_named_with_its_index_and_the_reason(tmp_path, damage):
    pictures = [crowd_of_spots(np.random.default_rng(i), (100, 120)) for i in range(2)]
    source = Files(on_disk(tmp_path, *pictures))
    file = tmp_path / "001.png"
    if damage == "missing":
        file.unlink()
    elif damage == "cut short":
        file.write_bytes(file.read_bytes()[:-20])
    elif damage == "another size":
        images.write(file, pictures[0][0][:50])
    else:
        file.write_bytes(b"" if damage == "empty" else b"these are words")
    source.image(0, 1.0)
    with pytest.raises(Damaged, match=r"001\.png") as caught:
        source.image(1, 1.0)
    assert caught.value.index == 1


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_cached_image_is_read_from_its_file_only_once(tmp_path, kind):
    pictures = [crowd_of_spots(np.random.default_rng(i), (100 + i, 120)) for i in range(3)]
    records = on_disk(tmp_path, *pictures)
    if kind == "memory":
        cache = MemoryCache(records.sizes, least=64)
    else:
        cache = DiskCache(tmp_path / "cache", records, records.sizes, least=64)
    source = Files(records, cache)
    before = [source.image(i, 1.0)[0].copy() for i in range(3)]
    assert all(np.array_equal(image, picture) for image, (picture, _) in zip(before, pictures, strict=True))
    if kind == "memory":
        for i in range(3):
            (tmp_path / f"{i:03d}.png").unlink()
    after = [source.image(i, 1.0)[0] for i in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    if kind == "disk":
        assert all(isinstance(image, np.memmap) for image in after)
        assert not list((tmp_path / "cache").glob("*.part"))


def test_a_changed_file_gets_a_new_place_on_disk_and_a_broken_one_is_made_again(tmp_path):
    first, second = (crowd_of_spots(np.random.default_rng(i), (100, 120)) for i in range(2))
    records = on_disk(tmp_path, first)
    source = Files(records, DiskCache(tmp_path / "cache", records, records.sizes, least=64))
    source.image(0, 1.0)
    images.write(tmp_path / "000.png", second[0])
    assert np.array_equal(source.image(0, 1.0)[0], second[0])
    for file in (tmp_path / "cache").glob("*.npy"):
        file.write_bytes(file.read_bytes()[:200])
    assert np.array_equal(source.image(0, 1.0)[0], second[0])


def test_large_photographs_are_cached_at_a_fraction_that_is_still_large_enough(tmp_path):
    assert kept_factors(np.array([[480, 640], [1279, 100], [1280, 800], [3000, 4000], [9000, 6000]]), 640).tolist() == [
        1,
        1,
        2,
        4,
        8,
    ]
    image, persons = crowd_of_spots(np.random.default_rng(0), (203, 301))
    records = on_disk(tmp_path, (image, persons), suffix=".jpg")
    source = Files(records, MemoryCache(records.sizes, least=150))
    for _ in range(2):
        small, reduction = source.image(0, 1.0)
        assert small.shape == (102, 151, 3)
        assert np.allclose(reduction, np.diag([0.5, 0.5, 1]))


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(tmp_path, caplog, monkeypatch):
    records = on_disk(tmp_path, crowd_of_spots(np.random.default_rng(0), (100, 120)))
    cache = DiskCache(tmp_path / "cache", records, records.sizes, least=64)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    source = Files(records, cache)
    for _ in range(3):
        source.image(0, 1.0)
    assert [record.getMessage() for record in caplog.records if "cannot grow" in record.getMessage()] != []
    assert len(caplog.records) == 1
    assert not list((tmp_path / "cache").iterdir())


def test_too_little_shared_memory_is_said_before_training_starts():
    with pytest.raises(ValueError, match=r"shared memory needed .* cache on disk"):
        MemoryCache(np.full((100_000, 2), 20_000), least=1_000_000)


def test_drawn_people_are_others_in_every_epoch_and_drawn_once_per_sample():
    drawn = []

    class Drawing:
        def __len__(self):
            return 10

        def draw(self, number):
            drawn.append(number)
            image, persons = crowd_of_spots(np.random.default_rng(number), (140, 160))
            return SimpleNamespace(
                image=image,
                **{name: getattr(persons, name) for name in ("boxes", "keypoints")},
                visibility=persons.visibility,
                areas=persons.areas,
            )

    source = Drawn(Drawing())
    first, third = source.at(0), source.at(3)
    for pixels, number in ((first, 4), (third, 34)):
        image, _ = pixels.image(4, 1.0)
        assert image.shape[:2] == pixels.size(4) and len(pixels.people(4)) == 2
        assert pixels.people(4).classes.tolist() == [0, 0]
        assert pixels.origin(4).image_id == number
    assert drawn == [4, 34]


def test_several_crops_of_one_image_decode_it_once():
    asked = []

    class Counting:
        def image(self, index, scale):
            asked.append((index, scale))
            return np.zeros((4, 4, 3), np.uint8), np.eye(3)

    source = Recent(Counting())
    for index in (0, 0, 0, 1, 1, 0):
        source.image(index, 0.3)
    assert asked == [(0, 1.0), (1, 1.0), (0, 1.0)]


def test_the_matrix_of_a_reduced_image_leads_on_to_the_input(tmp_path):
    image, persons = crowd_of_spots(np.random.default_rng(0), (200, 300))
    source = Files(on_disk(tmp_path, (image, persons), suffix=".jpg"))
    _, reduction = source.image(0, 0.4)
    assert np.allclose(chain(inverse(reduction), reduction), np.eye(3))
    assert source.people(0).keypoints.shape[1] == THREE.count
