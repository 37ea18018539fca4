//! Through the album's door, onto a real disk.

use super::*;
use crate::cell::{CELL_PX, Span, TILE_PX, TileRow, mask_png};
use std::path::Path;

fn settings(dir: &Path, passed_every: u64, unreviewed_max: usize) -> config::Album {
    config::Album { dir: dir.to_owned(), passed_every, unreviewed_max }
}

fn open(settings: &config::Album) -> (Album, JoinHandle<()>) {
    Album::open(settings, |_| (), |_| panic!("the disk took everything")).unwrap()
}

fn page(number: u64, verdict: VerdictKind) -> Page {
    let pixels: Arc<[u16]> = (0..TileRow::PIXELS).map(|i| (i % 977) as u16 * 60).collect();
    let spans: Spans = vec![Span { start: 10, end: CELL_PX as u16 - 20 }; TILE_PX].into();
    let mut found = Mask::new(CELL_PX, CELL_PX);
    found.set(100, 200, true);
    Page {
        cell: CellId { lane: "A".into(), number },
        unix_ns: 1_700_000_000_000_000_000 + number as i64 * 1_000_000_000,
        disposition: verdict.into(),
        rows: [0, 1, 2].map(|_| (pixels.clone(), spans.clone())),
        found: Arc::new(found),
    }
}

fn end((album, thread): (Album, JoinHandle<()>)) {
    album.close();
    thread.join().unwrap();
}

/// Names in a folder of the album, without their times.
fn names(dir: &Path, folder: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().split_once('_').unwrap().1.to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_failed_is_kept_and_one_in_so_many_that_passed() {
    let dir = tempfile::tempdir().unwrap();
    let (album, thread) = open(&settings(dir.path(), 3, 100));
    let verdicts = [VerdictKind::Pass, VerdictKind::Pass, VerdictKind::Hold, VerdictKind::Pass, VerdictKind::Pass, VerdictKind::Reject];
    let kept: Vec<Kept> = (1..).zip(verdicts).map(|(number, verdict)| album.keep(page(number, verdict))).collect();
    use Kept::{NotWanted, Yes};
    assert_eq!(kept, [Yes, NotWanted, Yes, NotWanted, Yes, Yes]);
    end((album, thread));
    let of_both = |numbers: [u64; 4]| numbers.iter().flat_map(|n| [format!("A_{n}.found.png"), format!("A_{n}.png")]).collect::<Vec<_>>();
    assert_eq!(names(dir.path(), "unreviewed"), of_both([1, 3, 5, 6]));
    let (none, thread) = open(&settings(dir.path(), 0, 100));
    assert_eq!(none.keep(page(7, VerdictKind::Pass)), NotWanted);
    end((none, thread));
    let mut order: Vec<String> =
        std::fs::read_dir(dir.path().join("unreviewed")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    order.sort();
    assert!(order[0].starts_with("20231114T221321.000Z_A_1"), "{order:?}");
}

#[test]
fn a_told_truth_makes_a_pair_that_training_reads_and_a_second_one_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let (album, thread) = open(&settings(dir.path(), 1, 100));
    let cell = |number| CellId { lane: "A".into(), number };
    for number in 1..=2 {
        assert_eq!(album.keep(page(number, VerdictKind::Reject)), Kept::Yes);
    }
    let none = Mask::new(CELL_PX, CELL_PX);
    let mut crack = none.clone();
    (300..340).for_each(|x| crack.set(x, 700, true));
    for (number, truth) in [(1, &none), (1, &crack), (2, &none)] {
        assert_eq!(album.tell(album.name_of(&cell(number)).unwrap(), Arc::new(truth.clone())), Told::Kept);
    }
    assert_eq!(album.name_of(&cell(3)), None, "a cell that was never kept");
    end((album, thread));
    assert!(names(dir.path(), "unreviewed").is_empty());
    for folder in ["images", "masks"] {
        assert_eq!(names(dir.path(), folder), ["A_1.png", "A_2.png"]);
    }
    let crack_px = |number: u64| {
        let mut files = std::fs::read_dir(dir.path().join("masks")).unwrap().map(|entry| entry.unwrap().path());
        let file = files.find(|file| file.to_str().unwrap().ends_with(&format!("_A_{number}.png"))).unwrap();
        mask_png::decode_drawn(&std::fs::read(file).unwrap(), CELL_PX).unwrap().count()
    };
    assert_eq!((crack_px(1), crack_px(2)), (40, 0));
    let image = std::fs::read_dir(dir.path().join("images")).unwrap().next().unwrap().unwrap().path();
    let image = image::open(image).unwrap().into_luma16();
    assert_eq!(image.dimensions(), (CELL_PX as u32, CELL_PX as u32));
    // Outside its outline it is 0, inside nowhere, whatever was seen.
    assert_eq!([9, 10, 977, CELL_PX as u32 - 21, CELL_PX as u32 - 20].map(|x| image.get_pixel(x, 0).0[0]), [0, 600, 1, 20760, 0]);
}

#[test]
fn the_oldest_make_room_and_what_a_power_cut_left_halfway_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let (album, thread) = open(&settings(dir.path(), 1, 3));
    for number in 1..=5 {
        while album.keep(page(number, VerdictKind::Reject)) == Kept::Lost {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let first = Name::parse("20231114T221321.000Z_A_1").unwrap();
    assert_eq!(album.tell(first, Arc::new(Mask::new(CELL_PX, CELL_PX))), Told::NoPicture);
    let known = (1..=5).map(|number| album.name_of(&CellId { lane: "A".into(), number }).is_some());
    assert_eq!(known.collect::<Vec<_>>(), [false, false, true, true, true]);
    end((album, thread));
    let pictures = || names(dir.path(), "unreviewed").into_iter().filter(|name| !name.contains("found")).collect::<Vec<_>>();
    assert_eq!(pictures(), ["A_3.png", "A_4.png", "A_5.png"]);
    assert_eq!(names(dir.path(), "unreviewed").len(), 6);
    // The truth about the fourth was written, its picture not moved yet; others were cut off in the middle.
    let unreviewed = dir.path().join("unreviewed");
    std::fs::write(unreviewed.join(".20231114T221329.000Z_A_9.png.77.part"), "half").unwrap();
    std::fs::write(unreviewed.join("20231114T221329.000Z_A_9.found.png"), "no picture").unwrap();
    let fourth =
        std::fs::read_dir(&unreviewed).unwrap().map(|e| e.unwrap().file_name()).find(|n| n.to_str().unwrap().ends_with("_A_4.png"));
    std::fs::copy(unreviewed.join("../unreviewed").join(fourth.as_ref().unwrap()), dir.path().join("masks").join(fourth.unwrap())).unwrap();
    end(open(&settings(dir.path(), 1, 1)));
    assert_eq!(names(dir.path(), "images"), ["A_4.png"]);
    assert_eq!(names(dir.path(), "unreviewed"), ["A_5.found.png", "A_5.png"]);
}

#[test]
fn a_picture_can_be_looked_at_before_and_after_its_truth() {
    let dir = tempfile::tempdir().unwrap();
    let (album, thread) = open(&settings(dir.path(), 1, 100));
    let cell = CellId { lane: "A".into(), number: 1 };
    assert_eq!(album.name_of(&cell), None);
    album.keep(page(1, VerdictKind::Hold));
    let name = album.name_of(&cell).unwrap();
    assert_eq!(album.cell_of(&name), Some((cell, VerdictKind::Hold.into())));
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    wait("no picture", &|| album.waiting().unwrap() == [name.clone()]);
    let crack_px = || mask_png::decode_drawn(&album.mask(&name).unwrap(), CELL_PX).unwrap().count();
    let (before, found) = (album.picture(&name), crack_px());
    assert!(before.is_some() && found == 1);
    // The rim of the outline, 10 to 20 px from the sides, is 5 px wide.
    let judged = album.judged(&name).unwrap();
    assert_eq!(
        [4, 5, CELL_PX - 6].map(|y| judged[y]),
        [Span::default(), Span { start: 15, end: CELL_PX as u16 - 25 }, Span { start: 15, end: CELL_PX as u16 - 25 }]
    );
    album.tell(name.clone(), Arc::new(Mask::new(CELL_PX, CELL_PX)));
    wait("no pair", &|| album.waiting().unwrap().is_empty());
    assert_eq!((album.picture(&name), crack_px()), (before, 0));
    end((album, thread));
}

#[test]
fn what_was_found_is_kept_for_another_truth_until_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let none = Arc::new(Mask::new(CELL_PX, CELL_PX));
    let (album, thread) = open(&settings(dir.path(), 1, 100));
    let [first, second] = [1, 2].map(|number| {
        album.keep(page(number, VerdictKind::Hold));
        album.name_of(&CellId { lane: "A".into(), number }).unwrap()
    });
    for _ in 0..2 {
        assert_eq!(album.tell(first.clone(), none.clone()), Told::Kept);
        let crack_px = |png: Vec<u8>| mask_png::decode_drawn(&png, CELL_PX).unwrap().count();
        assert_eq!((album.found(&first).map(crack_px), album.mask(&first).map(crack_px)), (Some(1), Some(0)));
    }
    end((album, thread));
    let (album, thread) = open(&settings(dir.path(), 1, 100));
    assert_eq!((album.found(&first), album.waiting().unwrap()), (None, vec![second.clone()]));
    assert_eq!(album.tell(second.clone(), none), Told::Kept);
    end((album, thread));
    assert!(names(dir.path(), "told").is_empty(), "cells of an earlier run are not counted");
}

#[test]
fn a_folder_that_cannot_be_used_is_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken");
    std::fs::write(&taken, "a file").unwrap();
    let told = Album::open(&settings(&taken, 1, 1), |_| (), |_| ()).err().unwrap().to_string();
    assert!(told.contains("taken") && told.contains("album.dir"), "{told}");
}

#[test]
fn what_the_disk_refuses_is_told_and_the_album_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let count = |of: &Arc<AtomicU64>| {
        let of = of.clone();
        move |lane: &str| {
            assert_eq!(lane, "A");
            of.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (album, thread) = Album::open(&settings(dir.path(), 1, 100), count(&kept), count(&lost)).unwrap();
    std::fs::remove_dir(dir.path().join("unreviewed")).unwrap();
    album.keep(page(1, VerdictKind::Hold));
    let started = Instant::now();
    while lost.load(Ordering::Relaxed) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
    std::fs::create_dir(dir.path().join("unreviewed")).unwrap();
    album.keep(page(2, VerdictKind::Hold));
    end((album, thread));
    // Both were taken, one was kept.
    assert_eq!([&kept, &lost].map(|count| count.load(Ordering::Relaxed)), [1, 1]);
    assert_eq!(names(dir.path(), "unreviewed"), ["A_2.found.png", "A_2.png"]);
}

#[test]
fn the_last_of_the_disk_is_left_to_the_ledger_and_truths_are_kept_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::open(dir.path(), 10).unwrap();
    let [waits, refused] = [1, 2].map(|number| Box::new(page(number, VerdictKind::Hold)));
    let name = Name::of(&waits);
    shelf.put(&name, &waits).unwrap();
    // More is to be left free than any disk has.
    shelf.reserve_bytes = u64::MAX;
    let told = shelf.put(&Name::of(&refused), &refused).unwrap_err().to_string();
    assert!(told.contains("only ") && told.contains("MB") && told.contains("ledger") && told.contains("album.unreviewed_max"), "{told}");
    let (jobs, jobs_out) = bounded(2);
    let (answer, told) = bounded(1);
    jobs.send(Job::Keep { name: Name::of(&refused), page: refused }).unwrap();
    jobs.send(Job::Tell { name, truth: Arc::new(Mask::new(CELL_PX, CELL_PX)), told: answer }).unwrap();
    drop(jobs);
    let lost = AtomicU64::new(0);
    let count = |lane: &str| assert_eq!((lane, lost.fetch_add(1, Ordering::Relaxed)), ("A", 0));
    write_all(&jobs_out, shelf, &Mutex::default(), |_| panic!("it was kept"), count);
    assert_eq!((lost.load(Ordering::Relaxed), told.recv().unwrap()), (1, Told::Kept));
    assert_eq!([names(dir.path(), "unreviewed").len(), names(dir.path(), "images").len()], [0, 1]);
}

#[test]
fn a_faint_crack_in_a_dark_cell_is_shown_in_more_than_one_grey() {
    let dir = tempfile::tempdir().unwrap();
    let (album, thread) = open(&settings(dir.path(), 1, 100));
    let mut dark = page(1, VerdictKind::Hold);
    // A tenth of white, uneven by a fifth of that, and on one line 4 % darker.
    let grey = |at: usize| 6000 + (at % CELL_PX) as u16 - if at / CELL_PX == 100 { 260 } else { 0 };
    let pixels: Arc<[u16]> = (0..TileRow::PIXELS).map(grey).collect();
    dark.rows.iter_mut().for_each(|(row, _)| *row = pixels.clone());
    album.keep(dark);
    let name = album.name_of(&CellId { lane: "A".into(), number: 1 }).unwrap();
    end((album, thread));
    let (album, thread) = open(&settings(dir.path(), 1, 100));
    let picture = |png: Vec<u8>| image::load_from_memory_with_format(&png, image::ImageFormat::Png).unwrap();
    let view = picture(album.view(&name).unwrap());
    assert_eq!((view.width(), view.color()), (CELL_PX as u32, image::ColorType::L8));
    let view = view.into_luma8();
    let (sound, crack) = (view.get_pixel(700, 99).0[0], view.get_pixel(700, 100).0[0]);
    assert!(sound >= crack + 20, "{sound} beside {crack}");
    assert!(view.get_pixel(9, 100).0[0] == 0 && view.get_pixel(10, 100).0[0] > 0, "outside the outline nothing is to be seen");
    assert_eq!(picture(album.picture(&name).unwrap()).color(), image::ColorType::L16, "it is kept as it was seen");
    end((album, thread));
}

#[test]
fn a_truth_whose_picture_cannot_be_moved_is_not_kept_by_halves() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), 1, 100);
    let (album, thread) = Album::open(&settings, |_| (), |_| ()).unwrap();
    album.keep(page(1, VerdictKind::Hold));
    let name = album.name_of(&CellId { lane: "A".into(), number: 1 }).unwrap();
    let images = dir.path().join("images");
    std::fs::remove_dir(&images).unwrap();
    assert_eq!(album.tell(name.clone(), Arc::new(Mask::new(CELL_PX, CELL_PX))), Told::Lost);
    end((album, thread));
    let (album, thread) = open(&settings);
    assert_eq!(album.waiting().unwrap(), [name], "the next start takes it for untold");
    end((album, thread));
}

#[test]
fn a_cell_that_waits_is_known_however_many_were_told_about_since() {
    let mut names = Names::default();
    let cell = |number| CellId { lane: "A".into(), number };
    let name = |number| Name::parse(&format!("20231114T221320.000Z_A_{number}")).unwrap();
    let last = TOLD_CELLS as u64 + 3;
    for number in 1..=last {
        names.of.insert(cell(number), (name(number), VerdictKind::Hold.into()));
    }
    let forgotten: Vec<Name> = (2..=last).filter_map(|number| names.told(&name(number))).collect();
    assert_eq!(forgotten, [name(2), name(3)], "what was found on them can go");
    let known = |names: &Names| [1, 2, 3, 4, last].map(|number| names.cell(&name(number)).is_some());
    assert_eq!(known(&names), [true, false, false, true, true]);
    // Told about anew, it is the last one; its picture gone, it is not known any more.
    assert_eq!([names.told(&name(4)), names.told(&name(1))], [None, Some(name(5))]);
    names.forget(&name(last));
    assert_eq!(known(&names), [true, false, false, true, false]);
}
