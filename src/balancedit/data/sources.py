"""Where the published data sets live, under which licence, and what can be fetched of them.

Most are behind a page that a person must click through; what to do there is said in words. Sizes
are rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

_COCO = "http://images.cocodataset.org/zips"
_OKVQA = "https://okvqa.allenai.org/static/data"
_COCO_LICENCE = (
    "pictures: COCO's terms of use, each picture under its photographer's Flickr licence"
)


@dataclass(frozen=True)
class Download:
    """A file that can be fetched without a person. `unpack`: a zip to be unpacked beside it.

    sha256: None where the publisher gives none; then the hash of the first download is kept, and
    later ones are compared with it.
    """

    file: str
    url: str
    megabytes: int
    sha256: str | None = None
    unpack: bool = False


@dataclass(frozen=True)
class Source:
    """A published data set. `steps`: what a person does, in order; `known`: hashes of files that
    come by hand, by name; `tree`: the id that git gives the folder at the commit fetched."""

    name: str
    home: str
    licence: str
    downloads: tuple[Download, ...] = ()
    steps: tuple[str, ...] = ()
    known: tuple[tuple[str, str], ...] = ()
    tree: str = ""


_GROCERY = "fc80ba90f803d79d0383df52c5a4ac5de99ff6fc"
_CLOTHES = "11961516512414bf9f6c150a832cfd21b54a6b54"
_COCO_VAL = Download("val2014.zip", f"{_COCO}/val2014.zip", 6300, unpack=True)

SOURCES: dict[str, Source] = {
    "grocery": Source(
        name="grocery",
        home="https://github.com/marcusklasson/GroceryStoreDataset",
        licence="MIT",
        downloads=(
            Download(
                f"GroceryStoreDataset-{_GROCERY}.zip",
                f"https://github.com/marcusklasson/GroceryStoreDataset/archive/{_GROCERY}.zip",
                128,
                unpack=True,
            ),
        ),
        tree="1ac1952cb9a00324104759bde4033782beacb215",
    ),
    "clothes": Source(
        name="clothes",
        home="https://github.com/alexeygrigorev/clothing-dataset-small",
        licence="CC0 1.0",
        downloads=(
            Download(
                f"clothing-dataset-small-{_CLOTHES}.zip",
                f"https://github.com/alexeygrigorev/clothing-dataset-small/archive/{_CLOTHES}.zip",
                109,
                unpack=True,
            ),
        ),
        tree="78b24042178f02d2ec37cee1dbd23d73857fa539",
    ),
    "mmedit": Source(
        name="mmedit",
        home="https://github.com/zjunlp/EasyEdit/blob/main/examples/MMEdit.md",
        licence="records: not stated (EasyEdit's code is MIT); " + _COCO_LICENCE,
        steps=(
            "open https://drive.google.com/drive/folders/1jBdTJxUb9wEeHnvG-RY8dv5_I4QlDpUS and put "
            "vqa_eval.json, vqa_train.json, caption_eval_edit.json and caption_train_edit.json "
            "(any of them) into {directory}",
            "open https://drive.google.com/file/d/1fQzJBFkok5kFZT6QUuT-HCuYKk2Vb93O and unpack the "
            "pictures so that {directory}/val2014 and {directory}/val2014_image_rephrase are there",
        ),
        known=(
            ("vqa_eval.json", "7299743ebe2854b240c6fe6f252fdb0c2ae3993ba2e5b23f07c6fee54ed1bcc0"),
        ),
    ),
    "okedit": Source(
        name="okedit",
        home="https://github.com/donglgcn/EasyEdit/tree/MMOKVQA",
        licence="not stated by its authors; questions: OK-VQA's; " + _COCO_LICENCE,
        downloads=(_COCO_VAL,),
        steps=(
            "open https://drive.google.com/drive/folders/1aauzm4Dxytpns8CKTPNJMpGhJ-mcqURF and put "
            "both JSON files, rephrased_images/ and one locality_images…/ into {directory}",
        ),
    ),
    "okvqa": Source(
        name="okvqa",
        home="https://okvqa.allenai.org/download.html",
        licence="questions: see its page; " + _COCO_LICENCE,
        downloads=(
            Download(
                "mscoco_val2014_annotations.json.zip",
                f"{_OKVQA}/mscoco_val2014_annotations.json.zip",
                1,
                unpack=True,
            ),
            Download(
                "OpenEnded_mscoco_val2014_questions.json.zip",
                f"{_OKVQA}/OpenEnded_mscoco_val2014_questions.json.zip",
                1,
                unpack=True,
            ),
            _COCO_VAL,
        ),
    ),
    "vlkeb": Source(
        name="vlkeb",
        home="https://github.com/VLKEB/VLKEB",
        licence="records: see LICENSE.txt in the download; its code is MIT",
        steps=(
            "sign in at Kaggle and run `kaggle datasets download -d hymanh/vlkeb-data`, or get "
            "it at https://www.kaggle.com/datasets/hymanh/vlkeb-data",
            "unpack it so that {directory}/eval.json and {directory}/VLKEB_images are there",
        ),
    ),
}
