"""Where publishers host the files of the cards: addresses, and sizes and SHA-256 where a public source states them.

Nothing here was measured by us. Each entry names its source; a file without a hash cannot be verified beforehand and
is checked on first arrival against the card's counts, as all files are. Sources:

  tfds      tensorflow/datasets, `tensorflow_datasets/url_checksums/NAME.txt` or `.../NAME/checksums.tsv`
  hf        huggingface/datasets at 040102f, `datasets/NAME/dataset_infos.json`: `download_checksums`
  xtreme    google-research/xtreme, `scripts/download_data.sh` (addresses only)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from viaduct.languages import LANGUAGES
from viaduct.tasks import ntrex

_SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class PublishedFile:
    """A file that a publisher ships."""

    address: str
    """May contain `{language}` and `{iso3}`, our code and the ISO 639-3 code: then there is one file per language."""
    to: str
    """Path below the data folder, with the same placeholders; for an archive, the folder it is unpacked into."""
    size: int | None = None
    sha256: str | None = None
    keep: tuple[str, ...] = ()
    """Patterns of the members that are unpacked; () if it is not an archive."""
    splits: tuple[str, ...] = _SPLITS
    languages: tuple[str, ...] | None = None
    """Languages whose rows are in it; None: all of the card's."""

    def of(self, split: str, language: str) -> PublishedFile | None:
        """The file for this split and language, with placeholders filled in; None if it has no rows of them."""
        if split not in self.splits or (self.languages is not None and language not in self.languages):
            return None
        words = {"language": language, "iso3": LANGUAGES[language].iso3}
        address, to = self.address.format(**words), self.to.format(**words)
        return replace(self, address=address, to=to, splits=_SPLITS, languages=None)


_XNLI = "https://dl.fbaipublicfiles.com/XNLI"
_SQUAD = "https://rajpurkar.github.io/SQuAD-explorer/dataset"
_BUCC = "https://comparable.limsi.fr/bucc2018"
_LASER = "https://github.com/facebookresearch/LASER/raw/main/data/tatoeba/v1/tatoeba.{iso3}-eng"
_TYDIQA = "https://storage.googleapis.com/tydiqa/v1.1/tydiqa-goldp-v1.1"
_HELLASWAG = "https://raw.githubusercontent.com/rowanz/hellaswag/master/data/hellaswag"
_COSMOS = "https://raw.githubusercontent.com/wilburOne/cosmosqa/master/data"
_COMMONSENSE = "https://s3.amazonaws.com/commensenseqa"
_XCOPA = "https://raw.githubusercontent.com/cambridgeltl/xcopa/master/data/{language}"
_NTREX = (
    "https://raw.githubusercontent.com/MicrosoftTranslator/NTREX/468c6b69c7f6a75d31d4743d9daba2af566cc18d/NTREX-128"
)
_COCO = "http://images.cocodataset.org"
_MULTI30K = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1"

# hf (xtreme), tfds (xquad); the same in both
_XQUAD = {
    "ar": (1_582_988, "abdabd7afed5c635d99cca0f3f0d0c9d9ed0bc77451e963c2e4e0638c29e486d"),
    "de": (669_810, "990b5d746746ed65ed4702ea5f35f99ffa4e2f1c390c07d003642acd937916f9"),
    "el": (1_918_889, "821cf0f88e73fa258fd2f548b19b6ec39f7025059e16f6f9fc8cd797c9c3663e"),
    "en": (609_383, "e4c57d1c9143aaa1c5d265ba5987a65f4e69528d2a98f29d6e75019b10344f29"),
    "es": (684_322, "dcbae93ec3a9f4b9e78fd834a171d6f96c1a875e10e15b7530b7e4ef4971e37e"),
    "hi": (1_680_538, "df2cce3532b37e9beb8979704b5c9a4bf874358f105395a298b89427b43b9d24"),
    "ru": (1_896_368, "208d5b1aa154c52b1b5c5eda16281e455e8fd198cdb9af3f469f0d6037d973bf"),
    "th": (1_809_143, "5cdda11d0e1e075f7872abf4e6ae830388ce7f617964d542308e9ae4257e0f43"),
    "tr": (729_506, "92179a564774b7696100d144c1e10870d0a966b6fccbdd254a65b9d2ab1971cc"),
    "vi": (911_401, "f619a1eb11fb42d3ab0834259e488a65f585447ef6154437bfb7199d85161a04"),
    "zh": (808_652, "691d0b3359bc6b8faa8de931dfdfe21d50a65861ae348e32a0d1a0190b0c8835"),
}

# hf (xtreme): (dev, which they call sample; test, which they call training)
_BUCC_FILES = {
    "de": (
        (2_529_652, "8e16ba8b02ef8d648b06adfbd6dfb188f43524e18f97b2b12a14a086caac62f3"),
        (28_189_548, "766e0fdebbd1438fb87c21254828eb13c8b997d8fbab002103dd060dcac50c5c"),
    ),
    "fr": (
        (1_948_831, "df9eb3966954e163c9264076f7c9c1eb56d9d8a91855f9d3afbf2c0fdaef0a08"),
        (20_757_713, "53c0d0e7dd97dc89593a2db25a26c5f0ccdc7113e8451263bb0c80e4c4c7dc30"),
    ),
    "ru": (
        (4_269_233, "fce3cabc7ee50ddb4b18aa6fb090e2669c8383d2a29fc97eed6ae70fed9a23e5"),
        (37_085_079, "1895df56e936ca3d4f5b12299ceffe0b7ff4806584c40bdaa3ae1d445f25afa5"),
    ),
    "zh": (
        (769_869, "a3425be5c0320ee131a0927b66c3e29befb3b481ebf1b87257e660e514bc16ac"),
        (6_344_925, "3facb71798277c8f44dc78c1f8ae2110f254d0e14799f3508eedd54b4236877a"),
    ),
}

# hf (xnli: the address; xtreme) and tfds (xnli), which has the same file from another host
_XNLI_FILE = PublishedFile(
    f"{_XNLI}/XNLI-1.0.zip",
    "",
    17_865_352,
    "4ba1d5e1afdb7161f0f23c66dc787802ccfa8a25a3ddd3b165a35e50df346ab1",
    keep=("XNLI-1.0/xnli.dev.tsv", "XNLI-1.0/xnli.test.tsv"),
    splits=("dev", "test"),
)
# xtreme; unverified
_XNLI_TRANSLATED = PublishedFile(
    f"{_XNLI}/XNLI-MT-1.0.zip", "", keep=("XNLI-MT-1.0/multinli/multinli.train.*.tsv",), splits=("train",)
)
# tfds (multi_nli)
_MULTINLI = PublishedFile(
    "https://cims.nyu.edu/~sbowman/multinli/multinli_1.0.zip",
    "",
    226_850_426,
    "049f507b9e36b1fcb756cfd5aeb3b7a0cfcb84bf023793652987f7e7e0957822",
    keep=("multinli_1.0/multinli_1.0_*.jsonl",),
    splits=("train", "dev"),
    languages=("en",),
)
# hf (xtreme), tfds (squad); the same in both
_SQUAD_FILES = {
    "train-v1.1": (30_288_272, "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955"),
    "dev-v1.1": (4_854_279, "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9"),
    "train-v2.0": (42_123_633, "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002"),
    "dev-v2.0": (4_370_528, "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8"),
}


def _squad(version: str) -> tuple[PublishedFile, ...]:
    return tuple(
        PublishedFile(f"{_SQUAD}/{split}-{version}.json", f"squad/{split}-{version}.json", *known, splits=(split,))
        for split in ("train", "dev")
        for known in (_SQUAD_FILES[f"{split}-{version}"],)
    )


def _images(split: str, size: int, sha256: str) -> PublishedFile:
    """The images of a split; source: tfds (coco_captions)."""
    ours = {"train2017": "train", "val2017": "dev"}[split]
    return PublishedFile(f"{_COCO}/zips/{split}.zip", "coco", size, sha256, keep=(f"{split}/*.jpg",), splits=(ours,))


def _multi30k(split: str, name: str) -> tuple[PublishedFile, ...]:
    """pytorch/text, `torchtext/experimental/datasets/raw/translation.py`, lists the texts, and several public
    repositories fetch the lists of images from next to them; unverified."""
    folder = "multi30k/data/task1"
    texts = PublishedFile(
        f"{_MULTI30K}/raw/{name}.{{language}}.gz", f"{folder}/raw/{name}.{{language}}.gz", splits=(split,)
    )
    images = f"image_splits/{name}.txt"
    return texts, PublishedFile(f"{_MULTI30K}/{images}", f"{folder}/{images}", splits=(split,))


SOURCES: Mapping[str, tuple[PublishedFile, ...]] = {
    "xnli": (_XNLI_FILE, _XNLI_TRANSLATED),
    "mnli": (_MULTINLI, replace(_XNLI_TRANSLATED, languages=tuple(one for one in LANGUAGES if one != "en"))),
    "mnli_mismatched": (_MULTINLI,),
    # hf (xtreme), tfds (paws_x_wiki); the same in both
    "pawsx": (
        PublishedFile(
            "https://storage.googleapis.com/paws/pawsx/x-final.tar.gz",
            "",
            30_282_057,
            "4146db499101d66e68ae4c8ed3cf9dadecd625f44b7d8cf3d4a0fe93afc4fd9f",
            keep=("x-final/*/*.tsv",),
        ),
    ),
    # hf (xtreme)
    "udpos": (
        PublishedFile(
            "https://lindat.mff.cuni.cz/repository/xmlui/bitstream/handle/11234/1-3105/ud-treebanks-v2.5.tgz",
            "",
            355_216_681,
            "5ff973e44345a5f69b94cc1427158e14e851c967d58773cc2ac5a1d3adaca409",
            keep=("ud-treebanks-v2.5/UD_*.conllu",),
        ),
    ),
    "xquad": tuple(
        PublishedFile(
            "https://github.com/deepmind/xquad/raw/master/xquad.{language}.json",
            "xquad/xquad.{language}.json",
            *known,
            languages=(code,),
        )
        for code, known in _XQUAD.items()
    ),
    # tfds (mlqa)
    "mlqa": (
        PublishedFile(
            "https://dl.fbaipublicfiles.com/MLQA/MLQA_V1.zip",
            "",
            75_719_050,
            "246e8089933d13007fe80684d5c5c0713d6834cf8b3b4a0ec7c66f0a0d2baac8",
            keep=("MLQA_V1/*.json",),
            splits=("dev", "test"),
        ),
    ),
    # hf (xtreme), tfds (tydi_qa); the same in both
    "tydiqa": (
        PublishedFile(
            f"{_TYDIQA}-train.json",
            "tydiqa/tydiqa-goldp-v1.1-train.json",
            58_004_076,
            "cefc8e09ff2548d9b10a678d3a6bbbe5bc036be543f92418819ea676c97be23b",
            splits=("train",),
        ),
        PublishedFile(
            f"{_TYDIQA}-dev.json",
            "tydiqa/tydiqa-goldp-v1.1-dev.json",
            5_617_409,
            "b286e0f34bc7f52259359989716f369b160565bd12ad8f3a3e311f9b0dbad1c0",
            splits=("dev", "test"),
        ),
    ),
    "bucc": tuple(
        PublishedFile(
            f"{_BUCC}/bucc2018-{code}-en.{word}-gold.tar.bz2",
            "",
            *known,
            keep=(f"bucc2018/{code}-en/{code}-en.{word}.*",),
            splits=(split,),
            languages=(code,),
        )
        for code, files in _BUCC_FILES.items()
        for split, word, known in zip(("dev", "test"), ("sample", "training"), files, strict=True)
    ),
    # addresses: hf (xtreme); unverified
    "tatoeba": tuple(
        PublishedFile(f"{_LASER}.{side}", f"tatoeba/v1/tatoeba.{{iso3}}-eng.{side}") for side in ("{iso3}", "eng")
    ),
    # xtreme; unverified
    "xcopa": tuple(
        PublishedFile(
            f"{_XCOPA}/{word}.{{language}}.jsonl", f"xcopa/data/{{language}}/{word}.{{language}}.jsonl", splits=(split,)
        )
        for split, word in (("dev", "val"), ("test", "test"))
    ),
    # tfds (snli)
    "snli": (
        PublishedFile(
            "https://nlp.stanford.edu/projects/snli/snli_1.0.zip",
            "",
            94_550_081,
            "afb3d70a5af5d8de0d9d81e2637e0fb8c22d1235c2749d83125ca43dab0dbd3e",
            keep=("snli_1.0/snli_1.0_*.jsonl",),
        ),
    ),
    # facebookresearch/anli, `script/download_data.sh`; unverified: published hashes are of version 0.1
    "anli": (PublishedFile("https://dl.fbaipublicfiles.com/anli/anli_v1.0.zip", "", keep=("anli_v1.0/R?/*.jsonl",)),),
    "squad": _squad("v1.1"),
    "squad2": _squad("v2.0"),
    # tfds (hellaswag)
    "hellaswag": tuple(
        PublishedFile(f"{_HELLASWAG}_{word}.jsonl", f"hellaswag/hellaswag_{word}.jsonl", size, sha256, splits=(split,))
        for split, word, size, sha256 in (
            ("train", "train", 47_496_131, "dae5e69249868cb9fe4e23ff925c60b66169564cfb7072d793cd7356a2b69f8d"),
            ("dev", "val", 12_246_618, "0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588"),
            ("test", "test", 11_752_147, "da082b00543e422b8d25394614d102944586986def4de5cd1bd36d86bcb76261"),
        )
    ),
    # tfds (cosmos_qa)
    "cosmosqa": tuple(
        PublishedFile(f"{_COSMOS}/{name}", f"cosmosqa/{name}", size, sha256, splits=(split,))
        for split, name, size, sha256 in (
            ("train", "train.csv", 16_660_449, "d8d5ca1f9f6534b6530550718591af89372d976a8fc419360fab4158dee4d0b2"),
            ("dev", "valid.csv", 2_128_345, "a6a94fc1463ca82bb10f98ef68ed535405e6f5c36e044ff8e136b5c19dea63f3"),
            ("test", "test.jsonl", 5_610_681, "70005196dc2588b95de34f1657b25e2c1a4810cfe55b5bb0c0e15580c37b3ed0"),
        )
    ),
    # hf (commonsense_qa)
    "commonsenseqa": tuple(
        PublishedFile(f"{_COMMONSENSE}/{name}.jsonl", f"commonsenseqa/{name}.jsonl", size, sha256, splits=(split,))
        for split, name, size, sha256 in (
            (
                "train",
                "train_rand_split",
                3_785_890,
                "58ffa3c8472410e24b8c43f423d89c8a003d8284698a6ed7874355dedd09a2fb",
            ),
            ("dev", "dev_rand_split", 471_653, "3210497fdaae614ac085d9eb873dd7f4d49b6f965a93adadc803e1229fd8a02a"),
            (
                "test",
                "test_rand_split_no_answers",
                423_148,
                "b426896d71a9cd064cf01cfaf6e920817c51701ef66028883ac1af2e73ad5f29",
            ),
        )
    ),
    # Several public repositories name this commit and read the same folder; unverified.
    "ntrex": (
        PublishedFile(f"{_NTREX}/newstest2019-src.eng.txt", "NTREX-128/newstest2019-src.eng.txt"),
        *(
            PublishedFile(f"{_NTREX}/{name}", f"NTREX-128/{name}", languages=(code,))
            for code, word in ntrex.CODES.items()
            for name in (f"newstest2019-ref.{word}.txt",)
        ),
    ),
    # tfds (coco_captions)
    "coco": (
        PublishedFile(
            f"{_COCO}/annotations/annotations_trainval2017.zip",
            "coco",
            252_907_541,
            "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            keep=("annotations/captions_*2017.json",),
            languages=("en",),
        ),
        _images("train2017", 19_336_861_798, "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"),
        _images("val2017", 815_585_330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),
    ),
    "multi30k": tuple(
        file
        for split, name in (("train", "train"), ("dev", "val"), ("test", "test_2016_flickr"))
        for file in _multi30k(split, name)
    ),
    # SEACrowd/seacrowd-datahub, `seacrowd/sea_datasets/xm3600/xm3600.py`; unverified
    "xm3600": (
        PublishedFile(
            "https://google.github.io/crossmodal-3600/web-data/captions.zip", "xm3600", keep=("captions.jsonl",)
        ),
        PublishedFile(
            "https://open-images-dataset.s3.amazonaws.com/crossmodal-3600/images.tgz", "xm3600/images", keep=("*.jpg",)
        ),
    ),
}
"""Card -> its files, in addition to those on the Hub, which the card itself names."""

BY_HAND: Mapping[str, str] = {
    "ccg": "CCGbank (LDC2005T13) needs a licence from the Linguistic Data Consortium; unpack it where"
    " `viaduct tasks ccg` says",
    "multi30k": "the images are Flickr30k's, which are available to those who fill in the form at"
    " shannon.cs.illinois.edu/DenotationGraph; unpack them into flickr30k/flickr30k-images",
    "flickr30k": "fill in the form at shannon.cs.illinois.edu/DenotationGraph, and unpack images and captions into"
    " flickr30k/",
}
"""Card -> how to obtain data that are only given out under an agreement."""
