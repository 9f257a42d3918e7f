from longshore.services.ecs.service import SERVICE


def test_every_operation_and_stream_has_its_row_and_no_row_is_without() -> None:
    rows = {name.lower() for name in SERVICE.access}
    streams = {stream.action.partition(":")[2].lower() for stream in SERVICE.streams}
    assert rows == set(SERVICE.operations) | streams
