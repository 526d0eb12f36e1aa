use lastbeat_wire::{FactId, RunId, Source};
use tempfile::TempDir;

use super::*;

const MARK: Mark = Mark { moment: Moment::from_millis(70), wall_ms: 7_000 };

fn entry(seq: u64, signal_json: &str) -> Entry<'_> {
    Entry {
        id: FactId { run_id: RunId::from_u128(5), source: Source::Own, seq },
        service: "trader",
        worker: "main",
        taken: Moment::from_millis(60),
        age_ms: 3,
        live: true,
        signal_json,
    }
}

fn open(dir: &TempDir) -> (Journal, Opening) {
    Journal::open(dir.path()).unwrap()
}

fn rows(journal: &Journal) -> Vec<StoredFact> {
    let mut rows = Vec::new();
    journal.replay(|row| rows.push(row.unwrap())).unwrap();
    rows
}

#[test]
fn the_same_fact_again_is_known_and_changes_nothing_even_when_it_waited_longer() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(&dir);
    let first = entry(1, r#"{"type":"ready"}"#);
    let again = Entry { age_ms: 90_000, taken: Moment::from_millis(99), live: false, ..first };
    assert_eq!(journal.append(&[first], MARK).unwrap(), [Appended::New]);
    assert_eq!(journal.append(&[again, again], MARK).unwrap(), [Appended::Known, Appended::Known]);
    assert_eq!(rows(&journal).len(), 1);
    assert_eq!(rows(&journal)[0].age_ms, 3);
}

#[test]
fn the_same_identity_with_other_content_is_a_conflict_and_its_neighbours_are_written() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(&dir);
    let ready = entry(1, r#"{"type":"ready"}"#);
    let other = entry(1, r#"{"type":"seen"}"#);
    let next = entry(2, r#"{"type":"ready"}"#);
    assert_eq!(
        journal.append(&[ready, other, next], MARK).unwrap(),
        [Appended::New, Appended::Conflict, Appended::New]
    );
    assert_eq!(rows(&journal).iter().map(|row| row.id.seq).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_reopened_journal_knows_its_facts_its_collector_and_where_the_axis_stood() {
    let dir = TempDir::new().unwrap();
    let (mut journal, first) = open(&dir);
    assert_eq!((first.epoch, first.last_mark), (1, None));
    journal.append(&[entry(1, r#"{"type":"ready"}"#)], MARK).unwrap();
    let before = rows(&journal);
    drop(journal);

    let (mut journal, second) = open(&dir);
    assert_eq!(second, Opening { epoch: 2, last_mark: Some(MARK), ..first });
    assert_eq!(rows(&journal), before);
    assert_eq!(journal.append(&[entry(1, r#"{"type":"ready"}"#)], MARK).unwrap(), [Appended::Known]);
    assert_eq!(journal.reader().facts_of(RunId::from_u128(5)).unwrap(), before);
    assert_eq!(journal.reader().facts_of(RunId::from_u128(6)).unwrap(), []);
}

#[test]
fn a_commit_is_synced_before_it_returns() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(&dir);
    let mode: String = journal.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    // 2 is FULL: with WAL a NORMAL commit survives the process, not the power cut.
    let synchronous: i64 =
        journal.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
    assert_eq!((mode.as_str(), synchronous), ("wal", 2));
}

#[test]
fn two_collectors_never_share_a_data_directory() {
    let dir = TempDir::new().unwrap();
    let (_journal, _) = open(&dir);
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::InUse { .. })));
}

#[test]
fn a_newer_schema_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(&dir);
    journal.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(journal);
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::Schema { found: 99, known: 1, .. })));
}

#[test]
fn a_full_disk_refuses_the_whole_batch_and_takes_it_when_there_is_room_again() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(&dir);
    let large = format!(r#"{{"type":"panic","message":"{}"}}"#, "x".repeat(200_000));
    journal.limit_pages(Some(20)).unwrap();
    let batch = [entry(1, r#"{"type":"ready"}"#), entry(2, &large)];
    assert!(matches!(journal.append(&batch, MARK), Err(JournalError::Append { facts: 2, .. })));
    assert_eq!(rows(&journal), []);
    assert!(!journal.is_read_only());
    journal.limit_pages(None).unwrap();
    assert_eq!(journal.append(&batch, MARK).unwrap(), [Appended::New, Appended::New]);
}

#[test]
fn after_a_failure_that_is_not_a_full_disk_nothing_is_written_again() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(&dir);
    journal.connection.pragma_update(None, "query_only", true).unwrap();
    assert!(matches!(journal.append(&[entry(1, "{}")], MARK), Err(JournalError::Append { .. })));
    journal.connection.pragma_update(None, "query_only", false).unwrap();
    assert!(matches!(journal.append(&[entry(1, "{}")], MARK), Err(JournalError::ReadOnly)));
    assert_eq!(rows(&journal), []);
}

#[test]
fn a_checkpoint_leaves_every_fact_in_place() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(&dir);
    let batch: Vec<_> =
        (1..=CHECKPOINT_EVERY_FACTS as u64).map(|seq| entry(seq, r#"{"type":"ready"}"#)).collect();
    journal.append(&batch, MARK).unwrap();
    journal.tend().unwrap();
    assert_eq!(journal.facts_since_checkpoint, 0);
    assert_eq!(rows(&journal).len(), CHECKPOINT_EVERY_FACTS);
}

#[test]
fn the_highest_count_is_that_of_one_voice_of_one_run() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(&dir);
    let [ready, seen] = [r#"{"type":"ready"}"#, r#"{"type":"seen"}"#];
    let mut of_observer = entry(9, seen);
    of_observer.id.source = Source::Observer;
    journal.append(&[entry(2, ready), entry(1, ready), of_observer], MARK).unwrap();
    let highest = |run: u128, source| journal.highest_seq(RunId::from_u128(run), source).unwrap();
    assert_eq!([highest(5, Source::Own), highest(5, Source::Observer), highest(6, Source::Own)], [2, 9, 0]);
}
