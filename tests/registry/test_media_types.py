from __future__ import annotations

from app.registry import media_types


def test_every_manifest_type_is_accepted_in_one_header() -> None:
    accepted = media_types.ACCEPT.split(", ")
    for media_type in (media_types.OCI_INDEX, media_types.DOCKER_MANIFEST, media_types.DOCKER_SCHEMA1_SIGNED):
        assert media_types.is_manifest(media_type)
        assert media_type in accepted


def test_indexes_and_foreign_layers_are_known() -> None:
    assert media_types.is_index(media_types.DOCKER_MANIFEST_LIST)
    assert not media_types.is_index(media_types.OCI_MANIFEST)
    assert media_types.is_foreign_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    assert media_types.is_foreign_layer("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd")
    assert not media_types.is_foreign_layer("application/vnd.oci.image.layer.v1.tar+zstd")


def test_a_content_type_is_read_without_its_parameters() -> None:
    assert media_types.essence("Text/Plain; charset=utf-8") == "text/plain"
    assert media_types.essence(None) == ""
    assert media_types.is_generic("text/plain")
    assert not media_types.is_generic(media_types.OCI_MANIFEST)
