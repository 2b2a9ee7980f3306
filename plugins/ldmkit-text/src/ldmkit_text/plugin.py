"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Text transformer, pretrained text encoders, class and layout embeddings."""
    registry.add(
        "conditioner",
        "text-transformer",
        "ldmkit_text.transformer:TextTransformer",
        "A transformer over word pieces that learns jointly with the denoiser.",
    )
    registry.add(
        "conditioner",
        "pretrained-text",
        "ldmkit_text.pretrained:PretrainedText",
        "A pretrained text encoder from a folder, an installed package or a pinned hub revision.",
    )
    registry.add(
        "conditioner",
        "paired-text",
        "ldmkit_text.paired:PairedText",
        "Two CLIP text encoders side by side, with the embedding of the whole text.",
    )
    registry.add(
        "conditioner",
        "multilingual-text",
        "ldmkit_text.multilingual:MultilingualText",
        "A frozen sentence encoder that puts captions in 16 languages in one space.",
    )
    registry.add(
        "conditioner",
        "aligned-text",
        "ldmkit_text.aligned:AlignedText",
        "A pretrained text encoder in English that can be asked in Korean, its denoiser unchanged.",
    )
    registry.add(
        "conditioner",
        "class-embedding",
        "ldmkit_text.classes:ClassEmbedding",
        "A learned vector a class, as one token or for the time embedding.",
    )
    registry.add(
        "keymap",
        "compvis/pretrained-text",
        "ldmkit_text.compvis_encoders:CompvisPretrainedText",
        "CLIP text encoders of the single file.",
    )
    registry.add(
        "keymap",
        "compvis/paired-text",
        "ldmkit_text.compvis_encoders:CompvisPairedText",
        "Both text encoders of Stable Diffusion XL in a single file of sgm's.",
    )
    registry.add(
        "keymap",
        "diffusers/pretrained-text",
        "ldmkit_text.diffusers_encoders:DiffusersPretrainedText",
        "The text_encoder/ and tokenizer/ of a folder.",
    )
    registry.add(
        "keymap",
        "diffusers/paired-text",
        "ldmkit_text.diffusers_encoders:DiffusersPairedText",
        "Both text encoders of Stable Diffusion XL.",
    )
    registry.add(
        "keymap",
        "compvis/text-transformer",
        "ldmkit_text.keymap:CompvisTextTransformer",
        "BERTEmbedder of the published single file.",
    )
    registry.add(
        "keymap",
        "diffusers/text-transformer",
        "ldmkit_text.keymap:DiffusersTextTransformer",
        "LDMBertModel of a Hugging Face folder.",
    )
    registry.add(
        "keymap",
        "compvis/class-embedding",
        "ldmkit_text.keymap:CompvisClassEmbedding",
        "ClassEmbedder of the published single file.",
    )
