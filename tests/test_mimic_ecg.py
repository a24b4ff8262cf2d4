"""ECG records: our reader beside wfdb, leads by name, what is wrong with a bad one, and what goes into a shard."""

from pathlib import Path

import numpy as np
import pytest
import real
from fake_mimic import IN_FILE, heartbeat, write_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_recipes import waveforms
from data_recipes.mimic import ecg
from data_recipes.mimic.wfdb_check import compare
from mmal_cli.core.errors import UserError

REAL = real.ROOT / "mimic-iv-linked-demo" / "ecg"


def reason(path: Path) -> str:
    with pytest.raises(ecg.BadRecord) as caught:
        ecg.usable(path)
    return str(caught.value)


def test_values_are_physical_and_leads_go_by_name(tmp_path):
    digital = np.zeros((12, 5000), np.int16)
    digital[IN_FILE.index("aVF")], digital[IN_FILE.index("aVL")], digital[0, 7] = 200, -100, -32768
    write_record(tmp_path / "r", digital)
    physical = ecg.read(tmp_path / "r").physical
    assert physical[ecg.LEADS.index("aVF")].tolist() == [1.0] * 5000
    assert physical[ecg.LEADS.index("aVL")].tolist() == [-0.5] * 5000
    assert np.isnan(physical).sum() == np.isnan(physical[0, 7]) == 1
    assert reason(tmp_path / "r") == ecg.NAN


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations(IN_FILE),
    st.lists(st.tuples(st.sampled_from(["200.0", "1000", "4.88e2", "0"]), st.integers(-3000, 3000)), min_size=12, max_size=12),
    st.integers(0, 99),
)
def test_whatever_gain_baseline_and_order_wfdb_reads_the_same(tmp_path, names, scales, seed):
    said = [f"{gain}({baseline})/mV" for gain, baseline in scales]
    write_record(tmp_path / "r", heartbeat(seed), names, scales=said)
    assert compare([tmp_path / "r"]) == 1


@pytest.mark.parametrize("scale", ["200", "200.0/mV", "200(12)/mV", "0/mV"])
def test_what_a_header_leaves_out_is_what_wfdb_takes(tmp_path, scale):
    write_record(tmp_path / "r", heartbeat(1), scale=scale)
    assert compare([tmp_path / "r"]) == 1


def test_a_difference_from_wfdb_names_the_lead_and_no_record(tmp_path, monkeypatch):
    write_record(tmp_path / "r40000007", heartbeat(2))
    record = ecg.read(tmp_path / "r40000007")
    record.physical[ecg.LEADS.index("aVF"), 17] += 1e-9
    monkeypatch.setattr(ecg, "read", lambda path: record)
    with pytest.raises(UserError, match=r"mmal and wfdb \S+ read an ECG differently: lead aVF, sample 17; please") as caught:
        compare([tmp_path / "r40000007"])
    assert "40000007" not in str(caught.value)


HARMS = {
    "no header": lambda path: path.with_suffix(".hea").unlink(),
    "no signal": lambda path: path.with_suffix(".dat").unlink(),
    "signal cut": lambda path: path.with_suffix(".dat").write_bytes(path.with_suffix(".dat").read_bytes()[:-2]),
    "header cut": lambda path: path.with_suffix(".hea").write_text(path.with_suffix(".hea").read_text()[:300]),
    "header empty": lambda path: path.with_suffix(".hea").write_text(""),
    "no text": lambda path: path.with_suffix(".hea").write_bytes(bytes(range(256))),
    "format 212": lambda path: edit(path, ".dat 16 ", ".dat 212 "),
    "250 Hz": lambda path: edit(path, " 500 5000", " 250 5000"),
    "another length": lambda path: edit(path, " 500 5000", " 500 4999"),
    "two leads of one name": lambda path: edit(path, " V2", " V1"),
    "another lead": lambda path: edit(path, " V6", " V7"),
    "two units": lambda path: edit(path, "mV 16 0", "uV 16 0", 1),
    "an endless baseline": lambda path: edit(path, "(0)", f"({'9' * 400})"),
    "a signal elsewhere": lambda path: edit(path, "r.dat", "../r.dat"),
}


def edit(path: Path, old: str, new: str, count: int = -1) -> None:
    header = path.with_suffix(".hea")
    assert old in header.read_text()
    header.write_text(header.read_text().replace(old, new, count))


@pytest.mark.parametrize("harm", HARMS)
def test_a_record_of_another_layout_is_unreadable_and_nothing_worse(tmp_path, harm):
    write_record(tmp_path / "r", heartbeat(3))
    HARMS[harm](tmp_path / "r")
    assert reason(tmp_path / "r") == (ecg.ABSENT if harm in ("no header", "no signal") else ecg.UNREADABLE)


@pytest.mark.parametrize(
    ("old", "new"), [(" 500 5000", " 500/500 5000"), (" 16 200", " 16x1 200"), (" 16 200", " 16:0+0 200"), ("# a", "  # a")]
)
def test_other_ways_to_say_the_same_are_read_as_wfdb_reads_them(tmp_path, old, new):
    write_record(tmp_path / "r", heartbeat(4))
    edit(tmp_path / "r", old, new)
    assert ecg.usable(tmp_path / "r").physical.shape == (12, 5000)
    assert compare([tmp_path / "r"]) in (0, 1)


def test_a_date_that_wfdb_cannot_read_is_counted_and_nothing_of_it_said(tmp_path):
    write_record(tmp_path / "r", heartbeat(4))
    write_record(tmp_path / "s", heartbeat(5))
    edit(tmp_path / "r", "16/07/2131", "31/02/2131")
    assert compare([tmp_path / "r", tmp_path / "s"]) == 1


def test_a_record_that_only_wfdb_reads_ends_the_run(tmp_path):
    write_record(tmp_path / "r", heartbeat(4), names=(*IN_FILE[:11], "Vx"))
    assert reason(tmp_path / "r") == ecg.UNREADABLE
    with pytest.raises(UserError, match=r"mmal calls an ECG unreadable that wfdb \S+ reads; please report"):
        compare([], [tmp_path / "r"])
    edit(tmp_path / "r", " 500 5000", " 250 5000")
    assert compare([], [tmp_path / "r"]) == 0


def test_a_disk_that_fails_is_no_patient_that_is_dropped(tmp_path, monkeypatch):
    write_record(tmp_path / "r", heartbeat(4))
    monkeypatch.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(OSError(5, "Input/output error", str(path))))
    with pytest.raises(UserError, match="an ECG could not be read: Input/output error; mend that"):
        ecg.usable(tmp_path / "r")


def test_a_wrong_checksum_and_an_empty_record(tmp_path):
    write_record(tmp_path / "r", heartbeat(3), checksum=1)
    assert reason(tmp_path / "r") == ecg.DAMAGED
    for value in (0, 55):
        write_record(tmp_path / "r", np.full((12, 5000), value, np.int16))
        assert reason(tmp_path / "r") == ecg.EMPTY


def test_a_record_is_scaled_as_a_whole_to_the_whole_range(tmp_path):
    physical = np.array([np.linspace(-1, 3, 5000), *[np.full(5000, 1.0)] * 11])
    scaled = waveforms.scaled(physical, 1)
    assert (scaled.dtype, scaled.shape) == (np.int16, (12, 5000))
    assert (scaled.min(), scaled.max(), set(scaled[5].tolist())) == (-32767, 32767, {0})
    assert np.abs(scaled / 32767 - (2 * (physical + 1) / 4 - 1)).max() < 0.5001 / 32767


def test_decimation_keeps_what_is_slow_and_folds_nothing_back():
    time = np.arange(5000) / 500
    slow, fast = np.sin(2 * np.pi * 5 * time), np.sin(2 * np.pi * 110 * time)  # 110 Hz would come back as 10 Hz at 100 Hz
    both, alone = (waveforms.scaled(np.stack([x] * 12) + 7.0, 5) / 32767 for x in (slow + fast, slow))
    assert both.shape == (12, 1000)
    inside = np.s_[:, 20:-20]
    assert np.abs(alone[inside] - slow[::5][20:-20]).max() < 0.01
    assert np.abs(both[inside] - alone[inside]).max() < 0.02


@real.needs("mimic-iv-linked-demo")
def test_all_real_records_are_read_as_wfdb_reads_them():
    paths = sorted(path.with_suffix("") for path in REAL.rglob("*.hea"))
    assert len(paths) > 100
    assert compare(paths) == len(paths)
    found = []
    for path in paths:
        try:
            ecg.usable(path)
        except ecg.BadRecord as error:
            found.append(str(error))
    assert sorted(found) == [ecg.EMPTY, ecg.NAN]  # PROVENANCE.md: one all-zero record, one with missing samples
