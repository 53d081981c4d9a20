"""The desk's settings: what ships can be read, and what is missing or wrong is named."""

import pytest

from recovery.desk.settings import load_desk
from recovery.errors import ConfigError

from . import stage


def test_the_shipped_configuration_can_be_read(desk):
    """config/ as it ships loads, with the source's promised times."""
    promises = {s: (str(p.first_response), str(p.rca or "not agreed")) for s, p in desk.sla.targets.items()}
    assert promises == {
        "P1": ("30 minutes", "24 hours"),
        "P2": ("8 business hours", "not agreed"),
        "P3": ("24 business hours", "not agreed"),
        "service_request": ("24 business hours", "not agreed"),
    }


@pytest.mark.requirement("R003.27")
@pytest.mark.parametrize(
    "line",
    [
        'zone = "America/Denver"        # IANA name',
        'holiday_country = "US"         # ISO 3166, or "none"',
        'holiday_subdivision = "CO"     # "" for the whole country',
        'wednesday = ["09:00-17:00"]',
        "sunday = []",
    ],
)
def test_business_hours_zone_and_holidays_have_no_default(tmp_path, line):
    """Leaving one of them out is an error that names it, never a silent value."""
    with pytest.raises(ConfigError, match=rf"sla\.toml: calendars.*{line.split(' ')[0]}.*required"):
        stage.settings(tmp_path, sla=[(line, "")])


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("sla", 'zone = "America/Denver"', 'zone = "America/Denvre"', "sla.toml: calendars.support.0: .*Denvre"),
        ("sla", 'holiday_country = "US"', 'holiday_country = "XX"', "no holiday calendar is known for XX"),
        ("sla", '["09:00-17:00"]', '["17:00-09:00"]', "hours.monday.0: .*closing time"),
        ("sla", '["09:00-17:00"]', '["09:00-17:00", "16:00-18:00"]', "monday overlap"),
        ("sla", '"8 business hours"', '"8 working hours"', "sla.toml: targets.P2.first_response: .*8 working hours"),
        ("sla", "[targets.P3]", "[targets.P4]", "sla.toml: targets.P4"),
        ("desk", "update_minutes = 30", "update_minutes = 0", "desk.toml: announcements.update_minutes"),
        ("desk", 'brand = "iDonate"', 'brand = "iDonate"\ncolour = "red"', "desk.toml: colour: Extra inputs"),
        (
            "desk",
            'declare = ["engineering"',
            'declare = ["wizards"',
            "permissions.declare names an unknown role: wizards",
        ),
        ("desk", 'mode = "manual"', 'mode = "guides"', "in_app: .*three guide ids"),
        (
            "desk",
            'calendar = "support"',
            'calendar = "other"',
            'clients.acme.calendar: sla.toml has no calendar "other"',
        ),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, file, old, new, message):
    """The error says which file, which field and why."""
    with pytest.raises(ConfigError, match=message):
        stage.settings(tmp_path, **{file: [(old, new)]})


@pytest.mark.requirement("R003.30")
def test_an_unset_p1_address_is_a_setup_error(tmp_path):
    """The error names the variable, and never an address."""
    stage.copy_config(tmp_path)
    with pytest.raises(ConfigError, match="P1_OPERA holds no mail address") as caught:
        load_desk(tmp_path, {"P1_ACME": stage.P1_ADDRESS})
    assert stage.P1_ADDRESS not in str(caught.value) + caught.value.hint


@pytest.mark.requirement("R003.30")
def test_a_p1_address_is_a_secret(tmp_path):
    """It may not stand in the file, and does not show in the settings' text."""
    assert stage.P1_ADDRESS not in repr(stage.settings(tmp_path / "good"))
    with pytest.raises(ConfigError, match="must not stand in the file"):
        stage.settings(tmp_path, desk=[('domains = ["acme.example"]', 'p1_address = "p1@acme.example"')])


@pytest.mark.requirement("R003.32", "R003.34")
def test_definitions_cut_off_in_the_source_are_flagged(desk):
    """P1's and P2's definitions are marked as incomplete in the source."""
    flagged = [s for s, d in desk.desk.severities.items() if not d.source_text_complete]
    assert flagged == ["P1", "P2", "P3"]


@pytest.mark.requirement("R003.31", "R003.34", "R003.37", "R003.40")
def test_severity_definitions_are_editable_policy(tmp_path, desk):
    """The four definitions ship with the source's meaning and can be changed in the file."""
    words = {s: d.definition for s, d in desk.desk.severities.items()}
    assert "Production outage" in words["P1"]
    assert "does not prevent use" in words["P2"]
    assert "Minor bug" in words["P3"]
    assert "configuration or content" in words["service_request"]
    edited = stage.settings(tmp_path / "edited", desk=[("Minor bug without", "Small fault without")])
    assert edited.desk.severities["P3"].definition.startswith("Small fault")


def test_a_template_without_a_required_line_is_refused(tmp_path):
    """An announcement template must keep its two fields."""
    stage.copy_config(tmp_path)
    template = tmp_path / "templates" / "identified.j2"
    template.write_text(template.read_text().replace("Symptoms:", "Signs:"))
    with pytest.raises(ConfigError, match=r'templates/identified.j2: the line "Symptoms:" is missing'):
        load_desk(tmp_path, stage.ENVIRON)
