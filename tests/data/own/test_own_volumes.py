"""NIfTI and DICOM volumes: turned alike, with the proportions that they have in space, and DICOM's values as meant."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.decoders import JPEGExtended12BitDecoder, JPEGLSLosslessDecoder
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from mosaic_pipeline.data.own.axes import to_canonical
from mosaic_pipeline.data.own.files import read_picture
from mosaic_pipeline.errors import PipelineError

SERIES = "1.2.3"
SIDE = 6


@pytest.fixture
def nifti(tmp_path):
    def write(values, affine, name="a.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / name)
        return read_picture(tmp_path / name, 3)

    return write


def item(**values):
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def headed(**values):
    """A DICOM file with an image of 16 bits, of which 12 are used, and these values in its header."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.SeriesInstanceUID = SERIES
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def saved(path, pixels, **values):
    dataset = headed(**values)
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.PixelData = pixels.astype(np.uint16).tobytes()
    dataset.save_as(path, enforce_file_format=True)


def ramp(slices=SIDE, rows=SIDE, columns=SIDE):
    """Values that say where they are: hundreds the slice, tens the row, ones the column."""
    return np.add.outer(np.add.outer(np.arange(slices) * 100, np.arange(rows) * 10), np.arange(columns))


AXIAL = [1, 0, 0, 0, 1, 0]


def write_series(folder, volume, order=None, step=2.5, orientation=AXIAL, **values):
    folder.mkdir(exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    for place, index in enumerate(order or range(len(volume))):
        saved(
            folder / f"{place:03}.dcm",
            volume[index],
            InstanceNumber=index,
            ImagePositionPatient=(normal * step * index).tolist(),
            ImageOrientationPatient=orientation,
            PixelSpacing=[0.5, 0.75],
            **values,
        )
    return folder


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PIR", "SRA"])
def test_a_nifti_is_turned_as_nibabel_turns_it(nifti, axes):
    values = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    to = nibabel.orientations.axcodes2ornt(axes)
    affine = nibabel.orientations.inv_ornt_aff(to, values.shape) @ np.eye(4)
    affine[:3, :3] = affine[:3, :3] @ np.diag([1.0, 2.0, 3.0])
    picture = nifti(values, affine)
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(values, affine))
    np.testing.assert_array_equal(picture.values, np.asarray(canonical.dataobj).transpose(2, 1, 0))
    assert picture.spacing == pytest.approx(canonical.header.get_zooms()[::-1])
    assert picture.span == (0, 255)
    assert ("Axes swapped or flipped" in picture.facts) == (axes != "RAS")


def test_an_oblique_volume_is_turned_to_the_nearest_axes_and_says_so(nifti):
    angle = np.radians(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    values = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    picture = nifti(values, affine)
    np.testing.assert_array_equal(picture.values, values.transpose())
    assert "Oblique, turned to the nearest axes and not resampled" in picture.facts


def test_two_axes_near_the_same_direction_do_not_both_take_it():
    directions = np.array([[1, 0.9, 0], [0.1, 0.8, 0], [0, 0, 1.0]])
    turned, _, _ = to_canonical(np.zeros((4, 5, 6)), directions)
    assert turned.shape == (6, 5, 4)


def test_a_nifti_without_a_place_in_space_is_taken_as_it_is(tmp_path):
    values = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    image = nibabel.Nifti1Image(values, None)
    image.header.set_zooms((1, 1, 4))
    nibabel.save(image, tmp_path / "a.nii")
    picture = read_picture(tmp_path / "a.nii", 3)
    np.testing.assert_array_equal(picture.values, values.transpose())
    assert picture.spacing == (4, 1, 1)
    assert "Without an orientation, taken as RAS" in picture.facts


def test_fractions_of_a_scanner_say_nothing_of_black_and_white(nifti):
    assert nifti(np.full((4, 4, 4), 0.5, np.float32), np.eye(4)).span is None


def test_a_nifti_of_several_volumes_is_refused(nifti):
    assert nifti(np.zeros((4, 4, 4, 1), np.uint8), np.eye(4)).values.shape == (4, 4, 4)
    with pytest.raises(ValueError, match="one volume of three axes is meant"):
        nifti(np.zeros((4, 4, 4, 2), np.uint8), np.eye(4))


def test_a_series_is_put_in_order_by_places_not_by_names(tmp_path):
    folder = write_series(tmp_path / "scan", ramp(), order=[3, 0, 5, 1, 4, 2])
    picture = read_picture(folder, 3)
    # LPS to RAS: rows go backwards and columns to the left in an axial slice, slices upwards.
    np.testing.assert_array_equal(picture.values, ramp()[:, ::-1, ::-1])
    assert picture.spacing == pytest.approx((2.5, 0.5, 0.75))
    assert picture.span == (0, 4095)
    assert picture.facts == ("DICOM series", "Axes swapped or flipped")


def test_a_sagittal_series_has_its_axes_where_an_axial_one_has_them(tmp_path):
    # Rows downwards and columns backwards: slices go to the left of the patient.
    picture = read_picture(write_series(tmp_path / "scan", ramp(), orientation=[0, 1, 0, 0, 0, -1]), 3)
    turned = ramp().transpose(1, 2, 0)[::-1, ::-1]  # rows are upwards, columns forwards now
    normal = np.cross([0, 1, 0], [0, 0, -1])
    np.testing.assert_array_equal(picture.values, turned if normal[0] < 0 else turned[:, :, ::-1])
    assert picture.spacing == pytest.approx((0.5, 0.75, 2.5))


def test_slope_and_intercept_are_those_of_each_slice(tmp_path):
    folder = write_series(tmp_path / "scan", ramp(), RescaleSlope=2, RescaleIntercept=-1024)
    picture = read_picture(folder, 3)
    np.testing.assert_array_equal(picture.values, ramp()[:, ::-1, ::-1] * 2.0 - 1024)
    assert picture.span == (-1024, 2 * 4095 - 1024)
    assert "Slope and intercept of the file applied" in picture.facts


def scans(place, write_csv, highest=4095, **values):
    """Thirty volumes of one file, from 0 to `highest` as they are stored, with a CSV."""
    for index in range(30):
        volume = np.linspace(0, highest, 8**3).reshape(8, 8, 8)
        volume[0, 0, index % 8] = index
        of_file = {name: value(index) if callable(value) else value for name, value in values.items()}
        saved(place / "files" / f"{index}.dcm", volume, **{"BitsStored": 16, "HighBit": 15} | of_file)
    write_csv(place / "files" / "labels.csv", [(f"{index}.dcm", index % 2) for index in range(30)])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"RescaleIntercept": -1024, "RescaleSlope": 1}, r"0.dcm .*values from -1024 to 3071, of which .*say `window"),
        ({"RescaleIntercept": -1024, "RescaleSlope": 1, "PixelRepresentation": 1}, "0.dcm .*say `window"),
        ({"PixelRepresentation": 1}, "16 of 256 grey levels would be left"),
        (
            {"BitsStored": 12, "HighBit": 11, "RescaleSlope": lambda index: 1 + index // 15},
            "unlike values, 0 to 4,095 and 0 to 8,190, so that",
        ),
        (
            {"BitsStored": 12, "HighBit": 11, "RescaleSlope": lambda index: 1 + index},
            "unlike values, from 0 to 4,095 on up to 0 to 122,850, so that",
        ),
    ],
)
def test_a_scanners_unit_without_a_window_is_refused(place, built, declare, write_csv, values, says):
    scans(place, write_csv, **values)
    with pytest.raises(PipelineError, match=says):
        built(declare(dimension=3))
    assert built(declare(dimension=3, window=[-1024, 3071]))["train_images"].max() == 255
    assert built(declare(dimension=3, window="each"))["train_images"].max() == 255


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_patients_of_dicom_files_are_kept_together(place, built, declare, write_csv, dimension):
    for index in range(30):
        values = np.random.default_rng(index).integers(0, 4096, (8,) * dimension)
        saved(place / "files" / f"{index}.dcm", values, PatientID=f"p{index // 3}")
    rows = [(f"{index}.dcm", index % 2) for index in range(30)]
    write_csv(place / "files" / "labels.csv", rows)
    own = declare(dimension=dimension)
    notes = built(own)["notes"]
    assert "Patients from the PatientID of the DICOM files. Split drawn by patient" in notes
    assert "train 21 images of 7 patients" in notes
    split = [(*row, ("train", "val", "test")[index % 3]) for index, row in enumerate(rows)]
    write_csv(place / "files" / "labels.csv", split, ("file", "label", "split"))
    with pytest.raises(PipelineError, match=r"are of one patient .*mend the split"):
        built(own)
    assert "patient" not in built(declare(dimension=dimension, columns={"patient": ""}))["notes"]
    own_columns = [(*row, f"q{index}") for index, row in enumerate(rows)]
    write_csv(place / "files" / "labels.csv", own_columns, ("file", "label", "patient"))
    assert "train 20 images of 20 patients" in built(own)["notes"]


def test_one_name_for_all_files_is_no_patient_and_files_without_one_stand_alone(place, built, declare, write_csv):
    images = np.random.default_rng(0).integers(0, 4096, (30, 8, 8))
    write_csv(place / "files" / "labels.csv", [(f"{index}.dcm", index % 2) for index in range(30)])
    for index in range(30):
        saved(place / "files" / f"{index}.dcm", images[index], PatientID="ANON")
    notes = built(declare())["notes"]
    assert "PatientID is the same in all DICOM files that have one, so it is not used. Split drawn by image" in notes
    for index in range(10):
        saved(place / "files" / f"{index}.dcm", images[index])
        saved(place / "files" / f"{index + 10}.dcm", images[index + 10], PatientID="other")
    made = built(declare())
    assert (
        "Patients from the PatientID of the DICOM files, which 20 of 30 have. Split drawn by patient" in made["notes"]
    )
    assert [len(made[f"{split}_images"]) for split in ("train", "val", "test")] == [20, 4, 6]


def test_what_a_slice_refers_to_is_not_the_slice(tmp_path):
    other = item(SeriesInstanceUID="9.9", PixelSpacing=[9, 9], RescaleSlope=9, ImagePositionPatient=[9, 9, 9])
    folder = write_series(tmp_path / "scan", ramp(), ReferencedSeriesSequence=Sequence([other]))
    extra = folder / "009.dcm"
    saved(extra, ramp()[0], ImagePositionPatient=[0, 0, 15], ImageOrientationPatient=AXIAL, PixelSpacing=[0.5, 0.75])
    picture = read_picture(folder, 3)
    assert picture.spacing == pytest.approx((2.5, 0.5, 0.75))
    assert picture.span == (0, 4095)


def test_what_a_frame_refers_to_is_not_the_frame(tmp_path):
    other = item(SeriesInstanceUID="9.9", InstanceNumber=9, PixelSpacing=[9, 9], RescaleSlope=9)
    for macro in ("ReferencedImageSequence", "PixelMeasuresSequence"):
        mine = item(PixelSpacing=[0.5, 0.75], SeriesInstanceUID="9.8", InstanceNumber=1)
        group = item(ReferencedImageSequence=Sequence([other]), PixelMeasuresSequence=Sequence([mine]))
        folder = write_series(tmp_path / macro, ramp(), SharedFunctionalGroupsSequence=Sequence([group]))
        picture = read_picture(folder, 3)
        assert picture.spacing == pytest.approx((2.5, 0.5, 0.75))
        assert picture.span == (0, 4095)
        for index, file in enumerate(sorted(folder.iterdir())):
            saved(file, ramp()[index], SharedFunctionalGroupsSequence=Sequence([group]), InstanceNumber=SIDE - index)
        np.testing.assert_array_equal(read_picture(folder, 3).values, ramp()[::-1])


def test_a_table_of_values_is_looked_up(tmp_path):
    table = item(LUTDescriptor=[4, 0, 8], ModalityLUTType="OD", LUTData=[7, 30, 100, 255])
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    saved(tmp_path / "a.dcm", np.array([[0, 1], [2, 3]]), ModalityLUTSequence=Sequence([table]))
    picture = read_picture(tmp_path / "a.dcm", 2)
    assert picture.values.tolist() == [[7, 30], [100, 255]]
    assert picture.span == (0, 255)
    assert "Values looked up in the file's table (modality LUT)" in picture.facts


@pytest.mark.parametrize(("shift", "says"), [(0.0, False), (0.02, False), (0.5, True)])
def test_slices_that_are_shifted_against_each_other_are_told(tmp_path, shift, says):
    for index, values in enumerate(ramp()):
        place = {"ImagePositionPatient": [0, shift * index, 2.5 * index], "ImageOrientationPatient": AXIAL}
        saved(tmp_path / f"{index}.dcm", values, **place)
    facts = read_picture(tmp_path, 3).facts
    assert ("Slices shifted against each other (a tilted gantry), left as they are" in facts) == says


@pytest.mark.parametrize("numbers", [[1, 2, 3, None, 5, 6], [1, 2, 3, 3, 5, 6]])
def test_a_series_without_places_and_numbers_has_no_order(tmp_path, numbers):
    for index, number in enumerate(numbers):
        numbered = {} if number is None else {"InstanceNumber": number}
        saved(tmp_path / f"{index}.dcm", ramp()[index], SOPInstanceUID="1.2", **numbered)
    with pytest.raises(ValueError, match="nothing says their order"):
        read_picture(tmp_path, 3)


def test_signed_values_have_a_signed_range(tmp_path):
    saved(tmp_path / "a.dcm", np.array([[0xFFFF, 1], [2, 3]]), PixelRepresentation=1)
    picture = read_picture(tmp_path / "a.dcm", 2)
    assert picture.values.tolist() == [[-1, 1], [2, 3]]
    assert picture.span == (-2048, 2047)


def test_monochrome1_says_that_the_largest_value_is_black(tmp_path):
    saved(tmp_path / "a.dcm", ramp()[0], PhotometricInterpretation="MONOCHROME1", PixelSpacing=[1, 2])
    picture = read_picture(tmp_path / "a.dcm", 2)
    assert picture.inverted
    assert picture.spacing == (1, 2)
    assert "Inverted, the largest value being black (MONOCHROME1)" in picture.facts


@pytest.mark.parametrize("kind", ["jpeg_ls_lossless", "jp2klossless", "RLE"])
def test_compressed_dicom_is_what_it_was(kind):
    files = Path(pydicom.__file__).parent / "data" / "test_files"
    expected = read_picture(files / "MR_small.dcm", 2)
    found = read_picture(files / f"MR_small_{kind}.dcm", 2)
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.span == expected.span


def test_a_compression_without_its_reader_says_what_to_install(monkeypatch):
    for decoder in (JPEGExtended12BitDecoder, JPEGLSLosslessDecoder):
        monkeypatch.setattr(decoder, "_available", {})
        monkeypatch.setattr(decoder, "_unavailable", {"pylibjpeg": ("pylibjpeg-libjpeg",)})
    for name in ("JPGExtended.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        file = Path(pydicom.__file__).parent / "data" / "test_files" / name
        with pytest.raises(ValueError, match=r"compressed \(JPEG.* missing; `pip install '\.\[volumes\]'"):
            read_picture(file, 2)


def test_a_dicom_file_is_known_without_a_suffix(tmp_path):
    saved(tmp_path / "IM000001", ramp()[0])
    np.testing.assert_array_equal(read_picture(tmp_path / "IM000001", 2).values, ramp()[0])


def test_a_volume_in_one_file_is_put_in_order_by_the_places_of_its_frames(tmp_path):
    shared = item(
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=AXIAL)]),
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.5, 0.75])]),
        PixelValueTransformationSequence=Sequence([item(RescaleSlope=2, RescaleIntercept=1)]),
    )
    frames = [
        item(PlanePositionSequence=Sequence([item(ImagePositionPatient=[0, 0, -3 * index])])) for index in range(SIDE)
    ]
    saved(
        tmp_path / "a.dcm",
        ramp(),
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )
    picture = read_picture(tmp_path / "a.dcm", 3)
    np.testing.assert_array_equal(picture.values, ramp()[::-1, ::-1, ::-1] * 2.0 + 1)
    assert picture.spacing == pytest.approx((3, 0.5, 0.75))


def test_frames_without_places_stay_in_their_order(tmp_path):
    saved(tmp_path / "a.dcm", ramp(), SpacingBetweenSlices=4, PixelSpacing=[0.5, 0.75])
    picture = read_picture(tmp_path / "a.dcm", 3)
    np.testing.assert_array_equal(picture.values, ramp())
    assert picture.spacing == (4, 0.5, 0.75)
    assert "Without places of its slices, taken in the order of their numbers" in picture.facts
    with pytest.raises(ValueError, match="holds 6 images, where one is meant"):
        read_picture(tmp_path / "a.dcm", 2)


def spoil_gap(folder):
    (folder / "002.dcm").unlink()


def spoil_series(folder):
    saved(folder / "009.dcm", ramp()[0], SeriesInstanceUID="1.2.4")


def spoil_twice(folder):
    (folder / "009.dcm").write_bytes((folder / "002.dcm").read_bytes())


def spoil_size(folder):
    position = {"ImagePositionPatient": [0, 0, 15], "ImageOrientationPatient": AXIAL}
    saved(folder / "009.dcm", np.zeros((4, 4)), **position)


def spoil_patient(folder):
    position = {"ImagePositionPatient": [0, 0, 15], "ImageOrientationPatient": AXIAL}
    saved(folder / "009.dcm", ramp()[0], PatientID="another", **position)


def spoil_channels(folder):
    position = {"ImagePositionPatient": [0, 0, 15], "ImageOrientationPatient": AXIAL}
    colours = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    dataset = headed(BitsAllocated=8, BitsStored=8, HighBit=7, Rows=SIDE, Columns=SIDE, **position)
    for name, value in colours.items():
        setattr(dataset, name, value)
    dataset.PixelData = bytes(SIDE * SIDE * 3)
    dataset.save_as(folder / "009.dcm", enforce_file_format=True)


def spoil_plane(folder):
    position = {"ImagePositionPatient": [0, 0, 15], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    saved(folder / "009.dcm", ramp()[0], **position)


def spoil_text(folder):
    (folder / "notes.txt").write_text("not a slice")


def spoil_folder(folder):
    (folder / "deeper").mkdir()


def spoil_all(folder):
    for file in folder.iterdir():
        file.unlink()


def spoil_image(folder):
    headed().save_as(folder / "009.dcm", enforce_file_format=True)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_gap, "its slices are 2.5 to 5 mm apart; is one missing"),
        (spoil_series, "holds 2 DICOM series"),
        (spoil_twice, "two of its slices lie in the same place"),
        (spoil_size, "its slices differ in size"),
        (spoil_patient, "its slices are of 2 patients"),
        (spoil_channels, "its slices differ in their channels"),
        (spoil_plane, "its slices lie in different planes"),
        (spoil_text, "notes.txt is no DICOM file"),
        (spoil_image, "009.dcm holds no image"),
        (spoil_folder, "deeper in it is a folder"),
        (spoil_all, "an empty folder, no DICOM series"),
    ],
)
def test_a_folder_that_is_no_whole_series_is_refused(tmp_path, spoil, says):
    folder = write_series(tmp_path / "scan", ramp())
    spoil(folder)
    with pytest.raises(ValueError, match=says):
        read_picture(folder, 3)


def test_a_reader_that_is_not_installed_is_named(tmp_path, monkeypatch):
    import sys

    (tmp_path / "a.dcm").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ValueError, match=r"read by pydicom, which is not there .*pip install '\.\[volumes\]'"):
        read_picture(tmp_path / "a.dcm", 3)
