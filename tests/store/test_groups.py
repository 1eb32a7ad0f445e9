"""Groups as rows: on SQLite and PostgreSQL alike."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.store.conftest import _empty
from tests.store.seeds import a_block, a_message, a_run, an_agent, at

from letta.schemas.groups import CreateGroup, Group
from letta.schemas.messages import Role
from letta.store import agents, blocks, clock, group_talk, groups, messages, sleeptime
from letta.store.access import Database
from letta.store.database import open_database
from letta.store.group_talk import KEPT
from letta.store.groups import GroupFilter
from letta.store.query import now


def a_group(connection: Connection, members: list[str], *, shares_memory: bool = False, **config: Any) -> Group:
    body = {"agent_ids": members, "description": "team", **({"manager_config": config} if config else {})}
    return groups.create(connection, CreateGroup.model_validate(body), shares_memory=shares_memory)


def lines(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text} for text in texts]


async def test_everybody_hears_what_others_said_since_it_last_listened(database: Database) -> None:
    def talk(connection: Connection) -> tuple[list[str], list[str], list[str]]:
        ann, ben, boss = an_agent(connection), an_agent(connection), an_agent(connection)
        group = a_group(connection, [ann, ben], manager_type="dynamic", manager_agent_id=boss)

        def hears(agent_id: str, *, leads: bool = False) -> list[str]:
            found = group_talk.unheard(connection, group.id, agent_id, leads=leads)
            if found:
                group_talk.heard(connection, group.id, agent_id, found[-1].position, leads=leads)
            return [line.message["content"] for line in found]

        group_talk.say(connection, group.id, None, lines("go"))
        first = hears(ann)
        group_talk.say(connection, group.id, ann, lines("I am ann"))
        group_talk.say(connection, group.id, ben, lines("I am ben"))
        return first, hears(ann), hears(boss, leads=True)

    assert await database.write(talk) == (["go"], ["I am ben"], ["go", "I am ann", "I am ben"])


async def test_talk_keeps_its_newest_lines(database: Database) -> None:
    def talk(connection: Connection) -> list[str]:
        ann = an_agent(connection)
        group = a_group(connection, [ann])
        for start in range(0, KEPT + 10, 50):
            group_talk.say(connection, group.id, None, lines(*(str(n) for n in range(start, start + 50))))
        return [line.message["content"] for line in group_talk.unheard(connection, group.id, ann)]

    heard = await database.write(talk)
    assert (len(heard), heard[-1]) == (KEPT, "249")


async def test_turn_is_held_by_one_owner_until_it_gives_it_up(database: Database) -> None:
    def take(connection: Connection) -> list[bool]:
        group_id = a_group(connection, [an_agent(connection)]).id
        taken = [group_talk.claim(connection, group_id, owner) for owner in ("one", "two")]
        group_talk.release(connection, group_id, "two")
        taken.append(group_talk.claim(connection, group_id, "two"))
        group_talk.release(connection, group_id, "one")
        return [*taken, group_talk.is_taken(connection, group_id), group_talk.claim(connection, group_id, "two")]

    assert await database.write(take) == [True, False, False, False, True]


async def test_turn_is_measured_with_the_clock_that_all_servers_share(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(connection: Connection) -> list[bool]:
        group_id = a_group(connection, [an_agent(connection)]).id
        taken = [group_talk.claim(connection, group_id, "one")]
        # The clock of a server that is an hour ahead.
        for module in (group_talk, clock):
            monkeypatch.setattr(module, "now", lambda: now() + timedelta(hours=1))
        group_talk.renew(connection, group_id, "one")
        return [*taken, group_talk.claim(connection, group_id, "two"), group_talk.is_taken(connection, group_id)]

    database = await open_database(postgres_url)
    await database.write(_empty)
    assert await database.write(late) == [True, False, True]
    await database.close()


async def test_agents_that_share_memory_have_the_same_blocks(database: Database) -> None:
    def share(connection: Connection) -> list[list[list[str]]]:
        main, other, alone = an_agent(connection), an_agent(connection), an_agent(connection)
        one, two, three = (a_block(connection, label).id for label in ("one", "two", "three"))
        a_group(connection, [other], shares_memory=True, manager_type="sleeptime", manager_agent_id=main)
        a_group(connection, [alone], manager_type="sleeptime", manager_agent_id=main)

        def labels() -> list[list[str]]:
            mine = blocks.of_agents(connection, [main, other, alone])
            return [[str(block.label) for block in mine[agent_id]] for agent_id in (main, other, alone)]

        blocks.attach(connection, main, one)
        seen = [labels()]
        blocks.attach(connection, other, two)
        seen.append(labels())
        blocks.detach(connection, main, one)
        seen.append(labels())
        agents.write_blocks(connection, main, [three, one])
        return [*seen, labels()]

    steps = await database.write(share)
    assert steps == [
        [["one"], ["one"], []],
        [["one", "two"], ["one", "two"], []],
        [["two"], ["two"], []],
        [["three", "one"], ["three", "one"], []],
    ]


async def test_group_outlives_its_agents(database: Database) -> None:
    def outlive(connection: Connection) -> tuple[list[str], str | None, str]:
        ann, ben, boss = an_agent(connection), an_agent(connection), an_agent(connection)
        group = a_group(connection, [ann, ben], manager_type="supervisor", manager_agent_id=boss)
        agents.remove(connection, ann)
        agents.remove(connection, boss)
        left = groups.get(connection, group.id)
        return left.agent_ids, left.manager_agent_id, ben

    members, leader, ben = await database.write(outlive)
    assert (members, leader) == ([ben], None)


async def test_turns_are_due_every_few_times(database: Database) -> None:
    def count(connection: Connection) -> tuple[list[bool], int]:
        main, other = an_agent(connection), an_agent(connection)
        config: dict[str, Any] = {"manager_agent_id": main, "sleeptime_agent_frequency": 3}
        group = a_group(connection, [other], manager_type="sleeptime", **config)
        due = [sleeptime.count_turn(connection, main) == [group.id] for _ in range(7)]
        return due, int(groups.get(connection, group.id).turns_counter or 0)

    assert await database.write(count) == ([False, False, True, False, False, True, False], 1)


async def test_what_is_younger_than_a_running_run_waits(database: Database) -> None:
    def wait(connection: Connection) -> list[tuple[list[str], bool]]:
        main, other = an_agent(connection), an_agent(connection)
        old = a_message(connection, main, 0, "old")
        group = a_group(connection, [other], manager_type="sleeptime", manager_agent_id=main)
        sleeptime.mark_processed(connection, group.id, old.id, instead_of=None)
        sleeptime.mark_processed(connection, group.id, None, instead_of="another")
        for position, text in ((1, "one"), (2, "two"), (9, "nine")):
            a_message(connection, main, position, text)
        found = []
        for seconds in (None, 5):
            if seconds is not None:
                a_run(connection, main, seconds=seconds, status="running")
            _, said, waiting = sleeptime.unprocessed(connection, group.id, 10)
            found.append(([message.text for message in said], waiting))
        return found

    assert await database.write(wait) == [(["one", "two", "nine"], False), (["one", "two"], True)]


async def test_listing_leaves_out_copies_and_what_agents_told_each_other(database: Database) -> None:
    def listed(connection: Connection) -> list[str]:
        ann, ben = an_agent(connection), an_agent(connection)
        group = a_group(connection, [ann, ben]).id
        a_message(connection, ann, 0, "go", group_id=group, otid="same", created_at=at(0))
        a_message(connection, ann, 1, "I am ann", group_id=group, role=Role.ASSISTANT, created_at=at(1))
        a_message(connection, ben, 0, "go", group_id=group, otid="same", created_at=at(2))
        a_message(connection, ben, 1, "told", group_id=group, role=Role.SYSTEM, sender_id=ann, created_at=at(3))
        a_message(connection, ben, 2, "I am ben", group_id=group, role=Role.ASSISTANT, created_at=at(4))
        a_message(connection, ben, 3, "elsewhere", created_at=at(5))
        return [message.text for message in messages.in_group(connection, group, None, None, "desc", 10)]

    assert await database.write(listed) == ["go", "I am ann", "I am ben"]


async def test_filters_find_groups_by_kind_project_and_agent(database: Database) -> None:
    def find(connection: Connection) -> tuple[list[int], list[str]]:
        ann, boss = an_agent(connection), an_agent(connection)
        a_group(connection, [ann])
        a_group(connection, [], manager_type="dynamic", manager_agent_id=boss)
        wanted = [GroupFilter(), GroupFilter("dynamic"), GroupFilter(project_id="p"), GroupFilter(agent_id=ann)]
        kinds = [group.manager_type for group in groups.list_page(connection, GroupFilter(agent_id=boss))]
        return [groups.count(connection, one) for one in wanted], [str(kind) for kind in kinds]

    assert await database.write(find) == ([2, 1, 0, 1], ["dynamic"])
