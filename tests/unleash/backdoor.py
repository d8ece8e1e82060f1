"""Flags put straight into the server's own tables: one transaction each, as no API call would."""

from __future__ import annotations

import json
import uuid
from typing import Any

import psycopg

from flagbrake.model.flag import Flag
from flagbrake_unleash.translate import feature_from_flag

PROJECT, ENVIRONMENT = "default", "development"
_TABLES = ("feature_strategies", "feature_environments", "feature_tag")


class BackDoor:
    """A connection to the server's database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None

    def _conn(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url)
        return self._connection

    def put(self, flag: Flag) -> None:
        """Write a flag, whatever was there."""
        self.write(feature_from_flag(flag))

    def write(self, feature: dict[str, Any], *, apart: int = 1) -> None:
        """Write a feature's document; its strategies' sort orders are so far apart, from 0 on if it is 1."""
        key = feature["name"]
        conn = self._conn()
        with conn.transaction():
            run = conn.execute
            run(
                "INSERT INTO features (name, type, description, project, stale, impression_data, archived_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET type = excluded.type,"
                " description = excluded.description, impression_data = excluded.impression_data,"
                " archived_at = excluded.archived_at",
                (key, feature["type"], feature["description"], PROJECT, feature["stale"], feature["impressionData"],
                 "now" if feature["archived"] else None),
            )  # fmt: skip
            for table in _TABLES:
                run(f"DELETE FROM {table} WHERE feature_name = %s", (key,))
            run("DELETE FROM dependent_features WHERE child = %s", (key,))
            for environment in (ENVIRONMENT, "production"):
                on = environment == ENVIRONMENT and feature["enabled"]
                run(
                    "INSERT INTO feature_environments (feature_name, environment, enabled) VALUES (%s, %s, %s)",
                    (key, environment, on),
                )
            for number, strategy in enumerate(feature["strategies"]):
                place = number if apart == 1 else (number + 1) * apart
                run(
                    "INSERT INTO feature_strategies (id, feature_name, project_name, environment, strategy_name, title,"
                    " parameters, constraints, variants, sort_order, disabled)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    (str(uuid.uuid4()), key, PROJECT, ENVIRONMENT, strategy["name"], strategy["title"],
                     json.dumps(strategy["parameters"]), json.dumps(strategy["constraints"]),
                     json.dumps(strategy["variants"]), place, strategy["disabled"]),
                )  # fmt: skip
            for tag in feature["tags"]:
                run(
                    "INSERT INTO tags (type, value) VALUES (%s, %s) ON CONFLICT DO NOTHING", (tag["type"], tag["value"])
                )
                run(
                    "INSERT INTO feature_tag (feature_name, tag_type, tag_value) VALUES (%s, %s, %s)",
                    (key, tag["type"], tag["value"]),
                )
            for need in feature["dependencies"]:
                run(
                    "INSERT INTO dependent_features (parent, child, enabled, variants) VALUES (%s, %s, %s, %s)",
                    (need["feature"], key, need["enabled"], json.dumps(need["variants"])),
                )
            self._tell(key)

    def remove(self, key: str) -> None:
        """Delete a feature."""
        conn = self._conn()
        with conn.transaction():
            conn.execute("DELETE FROM features WHERE name = %s", (key,))
            self._tell(key)

    def revision(self) -> int:
        """The newest event that the server looks for."""
        with self._conn().transaction():
            found = (
                self._conn()
                .execute("SELECT max(id) FROM events WHERE feature_name IS NOT NULL OR type IN ('segment-updated')")
                .fetchone()
            )
        return (found and found[0]) or 0

    def close(self) -> None:
        """Let go of it."""
        if self._connection is not None:
            self._connection.close()

    def _tell(self, key: str) -> None:
        self._conn().execute(
            "INSERT INTO events (type, created_by, data, feature_name, project, environment, created_by_user_id)"
            " VALUES ('feature-updated', 'back door', '{}', %s, %s, %s, -1)",
            (key, PROJECT, ENVIRONMENT),
        )
