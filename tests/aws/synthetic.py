"""A small service whose model has what the models of Longshore's own services have not, or hardly: every place and trait.

Built for both sides from the same text.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.model import ServiceModel as BotocoreModel

from longshore.aws.model import ServiceModel, build


def scalars() -> dict[str, Any]:
    return {
        "Text": {"type": "string"},
        "Whole": {"type": "integer"},
        "Big": {"type": "long"},
        "Real": {"type": "double"},
        "Yes": {"type": "boolean"},
        "Bytes": {"type": "blob"},
        "Moment": {"type": "timestamp"},
        "IsoMoment": {"type": "timestamp", "timestampFormat": "iso8601"},
        "Texts": {"type": "list", "member": {"shape": "Text"}},
        "NamedTexts": {"type": "list", "member": {"shape": "Text", "locationName": "entry"}},
        "FlatTexts": {"type": "list", "member": {"shape": "Text"}, "flattened": True},
        "FlatNamedTexts": {"type": "list", "member": {"shape": "Text", "locationName": "Piece"}, "flattened": True},
        "Map": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Text"}},
        "NamedMap": {
            "type": "map",
            "key": {"shape": "Text", "locationName": "K"},
            "value": {"shape": "Node", "locationName": "V"},
        },
        "FlatMap": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Whole"}, "flattened": True},
        "Nodes": {"type": "list", "member": {"shape": "Node"}},
        "Lists": {"type": "list", "member": {"shape": "Texts"}},
        "Node": {
            "type": "structure",
            "members": {
                "name": {"shape": "Text"},
                "Renamed": {"shape": "Whole", "locationName": "otherName"},
                "children": {"shape": "Nodes"},
            },
        },
    }


MEMBERS = {
    "text": {"shape": "Text"},
    "whole": {"shape": "Whole"},
    "big": {"shape": "Big"},
    "real": {"shape": "Real"},
    "yes": {"shape": "Yes"},
    "bytes": {"shape": "Bytes"},
    "moment": {"shape": "Moment"},
    "isoMoment": {"shape": "IsoMoment"},
    "texts": {"shape": "Texts"},
    "node": {"shape": "Node"},
    "nodes": {"shape": "Nodes"},
    "lists": {"shape": "Lists"},
    "map": {"shape": "Map"},
    "namedMap": {"shape": "NamedMap"},
    "renamed": {"shape": "Text", "locationName": "wireName"},
}
XML_MEMBERS = {
    "namedTexts": {"shape": "NamedTexts"},
    "flatTexts": {"shape": "FlatTexts"},
    "flatNamedTexts": {"shape": "FlatNamedTexts"},
    "flatMap": {"shape": "FlatMap"},
}


def models(protocol: str) -> tuple[ServiceModel, BotocoreModel]:
    """Ours and botocore's. Operation `Do`; of rest-json `Place` too, with members in every place."""
    metadata = {
        "apiVersion": "2026-01-01",
        "endpointPrefix": "thing",
        "protocol": protocol,
        "protocols": [protocol],
        "serviceId": "Thing",
        "signatureVersion": "v4",
        "jsonVersion": "1.0",
        "targetPrefix": "Thing_20260101",
        "xmlNamespace": "https://thing.example/doc/",
    }
    members = {**MEMBERS, **(XML_MEMBERS if protocol in ("query", "ec2") else {})}
    if protocol == "ec2":  # Its forms have no maps.
        members = {name: each for name, each in members.items() if "Map" not in each["shape"]}
    shapes = {
        **scalars(),
        "In": {"type": "structure", "members": members},
        "Out": {"type": "structure", "members": members},
    }
    operations: dict[str, Any] = {
        "Do": {
            "name": "Do",
            "http": {"method": "POST", "requestUri": "/" if protocol != "rest-json" else "/v1/do"},
            "input": {"shape": "In"},
            "output": {"shape": "Out", **({"resultWrapper": "DoResult"} if protocol == "query" else {})},
        }
    }
    if protocol == "rest-json":
        shapes["PlaceIn"] = {
            "type": "structure",
            "required": ["bucket", "key"],
            "members": {
                "bucket": {"shape": "Text", "location": "uri", "locationName": "bucket"},
                "key": {"shape": "Text", "location": "uri", "locationName": "key"},
                "number": {"shape": "Whole", "location": "querystring", "locationName": "n"},
                "flag": {"shape": "Yes", "location": "querystring", "locationName": "flag"},
                "when": {"shape": "Moment", "location": "querystring", "locationName": "when"},
                "names": {"shape": "Texts", "location": "querystring", "locationName": "name"},
                "header": {"shape": "Text", "location": "header", "locationName": "x-thing-text"},
                "size": {"shape": "Big", "location": "header", "locationName": "x-thing-size"},
                "ready": {"shape": "Yes", "location": "header", "locationName": "x-thing-ready"},
                "node": {"shape": "Node"},
            },
        }
        operations["Place"] = {
            "name": "Place",
            "http": {"method": "PUT", "requestUri": "/v1/{bucket}/of/{key+}", "responseCode": 201},
            "input": {"shape": "PlaceIn"},
            "output": {"shape": "Out"},
        }
    text = {"metadata": metadata, "operations": operations, "shapes": shapes}
    return build("thing", json.dumps(text).encode()), BotocoreModel(text, "thing")
