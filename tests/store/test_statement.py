from sqlalchemy import Column, Integer, MetaData, String, Table, bindparam, select

from longshore.store.statement import Statement

things = Table("statement_things", MetaData(), Column("id", Integer, primary_key=True), Column("name", String))


def test_constants_of_an_expression_stand_in_the_statement_and_parameters_stay() -> None:
    source = (
        select(things.c.id)
        .where(things.c.name == bindparam("name"), things.c.name != "it's \\1", things.c.id.in_((1, 2)))
        .limit(bindparam("limit"))
    )
    sql = Statement(source).sql
    assert "name = :name" in sql and "!= 'it''s \\1'" in sql and "IN (1, 2)" in sql
    assert "LIMIT :limit OFFSET 0" in sql and "param" not in sql
