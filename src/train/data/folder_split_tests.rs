use super::tests::{folder_of, open, save};
use super::*;
use crate::train::{HeldBack, SplitPlan};
use image::{GrayImage, Luma};

#[test]
fn every_picture_belongs_to_one_part_and_the_same_seed_splits_the_same() {
    let dir = folder_of(10);
    let names = |seed| {
        let folder = open(dir.path(), seed, 0.2).unwrap();
        let names = |set| folder.entries(set).iter().map(|e| e.picture.clone()).collect::<Vec<_>>();
        (names(Set::Training), names(Set::Validation))
    };
    let (training, validation) = names(7);
    assert_eq!((training.len(), validation.len()), (8, 2));
    assert!(validation.iter().all(|p| !training.contains(p)));
    assert_eq!(names(7), (training.clone(), validation));
    assert!((8..20).any(|seed| names(seed).0 != training), "another seed splits differently");
}

#[test]
fn lines_that_tell_of_no_picture_are_told() {
    let dir = folder_of(4);
    let path = dir.path().join("split.csv");
    let unused = |text: &str| {
        std::fs::write(&path, "cell0,training\ncell1,training\ncell2,validation\ncell3,validation\n".to_owned() + text).unwrap();
        let plan = SplitPlan { held_back: HeldBack::File(path.clone()), ..SplitPlan::share(0.5, 1) };
        let folder = Folder::open(dir.path(), &plan, Sampling::Balanced).unwrap();
        folder.warnings().iter().filter(|w| w.contains("split.csv")).cloned().collect::<Vec<_>>()
    };
    assert!(unused("").is_empty());
    let told = unused("cell7.png,validation\ncell8,training\n");
    assert!(matches!(told.as_slice(), [one] if one.contains("2 lines") && one.contains("cell7; cell8")), "{told:?}");
}

#[test]
fn a_copy_that_was_saved_anew_stays_with_its_original() {
    let dir = folder_of(6);
    for part in ["images", "masks"] {
        let picture = image::open(dir.path().join(part).join("cell0.png")).unwrap();
        picture.save(dir.path().join(part).join("twin.tiff")).unwrap();
    }
    for seed in 0..8 {
        let folder = open(dir.path(), seed, 0.4).unwrap();
        let has = |set, name: &str| folder.entries(set).iter().any(|e| e.name() == name);
        assert_eq!(has(Set::Validation, "cell0"), has(Set::Validation, "twin"), "seed {seed}");
        let told = folder.warnings();
        assert!(told.iter().any(|w| w.contains("twin.tiff: a copy of") && !w.contains("differ")), "{told:?}");
    }
}

#[test]
fn copies_stay_together_and_extra_masks_are_told() {
    let dir = folder_of(6);
    std::fs::copy(dir.path().join("images/cell0.png"), dir.path().join("images/twin.png")).unwrap();
    std::fs::copy(dir.path().join("masks/cell0.png"), dir.path().join("masks/twin.png")).unwrap();
    save(dir.path(), "masks", "lonely.png", &GrayImage::new(8, 6));
    for seed in 0..8 {
        let folder = open(dir.path(), seed, 0.4).unwrap();
        let has = |set, name: &str| folder.entries(set).iter().any(|e| e.name() == name);
        assert_eq!(has(Set::Validation, "cell0"), has(Set::Validation, "twin"), "seed {seed}");
        assert!(folder.warnings().iter().any(|w| w.contains("twin.png") && w.contains("cell0.png")));
        assert!(folder.warnings().iter().any(|w| w.contains("lonely.png")));
    }
}

#[test]
fn one_picture_and_its_copies_are_too_few() {
    let dir = folder_of(1);
    for copies in 0..3 {
        let said = open(dir.path(), 1, 0.4).unwrap_err().to_string();
        assert!(said.contains("1 picture (copies count as one)") && said.contains("at least two different ones"), "{said}");
        for part in ["images", "masks"] {
            let of = |name: String| dir.path().join(part).join(name);
            std::fs::copy(of("cell0.png".into()), of(format!("copy{copies}.png"))).unwrap();
        }
    }
}

#[test]
fn many_copies_are_told_in_one_line_but_masks_that_differ_each() {
    let dir = folder_of(9);
    for i in 0..9 {
        for part in ["images", "masks"] {
            let of = |name: String| dir.path().join(part).join(name);
            std::fs::copy(of(format!("cell{i}.png")), of(format!("cell{i}-saturation.png"))).unwrap();
        }
    }
    let copies = || {
        let folder = open(dir.path(), 1, 0.3).unwrap();
        folder.warnings().iter().filter(|w| w.contains("a copy of")).cloned().collect::<Vec<_>>()
    };
    let told = copies();
    assert!(told.len() == 1 && told[0].contains("; and 4 more; copies are kept") && told[0].contains("images/cell0.png"), "{told:?}");
    save(dir.path(), "masks", "cell3-saturation.png", &GrayImage::from_pixel(8, 6, Luma([255])));
    let told = copies();
    let differing: Vec<&String> = told.iter().filter(|w| w.contains("their masks differ")).collect();
    assert!(told.len() == 2 && differing.len() == 1 && differing[0].contains("cell3"), "{told:?}");
}

#[test]
fn copies_that_a_split_file_tears_apart_are_refused() {
    let dir = folder_of(3);
    for part in ["images", "masks"] {
        std::fs::copy(dir.path().join(part).join("cell0.png"), dir.path().join(part).join("twin.png")).unwrap();
    }
    let path = dir.path().join("split.csv");
    std::fs::write(&path, "cell0,training\ncell1,training\ncell2,validation\ntwin,validation\n").unwrap();
    let plan = SplitPlan { held_back: HeldBack::File(path), ..SplitPlan::share(0.5, 1) };
    let said = Folder::open(dir.path(), &plan, Sampling::Balanced).unwrap_err().to_string();
    assert!(said.contains("cell0 and twin") && said.contains("copies of one picture"), "{said}");
}

#[test]
fn a_split_that_was_written_down_is_the_same_again() {
    let dir = folder_of(9);
    let first = open(dir.path(), 4, 0.3).unwrap();
    let path = dir.path().join("split.csv");
    std::fs::write(&path, first.split_csv().unwrap()).unwrap();
    let plan = SplitPlan { held_back: HeldBack::File(path), ..SplitPlan::share(0.5, 99) };
    let again = Folder::open(dir.path(), &plan, Sampling::Balanced).unwrap();
    assert_eq!(first.digest().unwrap(), again.digest().unwrap());
}
