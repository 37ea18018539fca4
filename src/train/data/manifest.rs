use super::pictures::{Encoded, decoded_pair, learnt_picture, mask_of, pictures_in, stem};
use super::split::SplitPlan;
use super::told::some_of;
use super::{Learnt, Set};
use crate::cell::CELL_PX;
use crate::train::TrainError;
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// One picture with its mask, as `manifest.json` tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Entry {
    /// The picture's file, below the data folder.
    pub picture: PathBuf,
    /// The mask's file.
    pub mask: PathBuf,
    /// SHA-256 of the picture's file, hex.
    pub picture_sha256: String,
    /// SHA-256 of the mask's file, hex.
    pub mask_sha256: String,
    /// SHA-256 of what the picture shows, hex: that of a copy, too, which was saved anew.
    pub shown_sha256: String,
    /// SHA-256 of what the mask shows.
    #[serde(skip)]
    pub mask_shown: String,
    /// Width and height in pixels.
    pub size_px: (u32, u32),
    /// Crack pixels of the mask within the outline; of a cell those that do not lie on its rim.
    pub crack_px: u64,
    /// Crack pixels of the mask wherever they lie.
    #[serde(skip)]
    pub drawn_px: u64,
    /// Whether every pixel of the mask is crack.
    #[serde(skip)]
    pub all_crack: bool,
    /// What it belongs to.
    pub group: String,
    /// Which part it is in.
    pub set: Set,
}

impl Entry {
    pub fn all_px(&self) -> u64 {
        u64::from(self.size_px.0) * u64::from(self.size_px.1)
    }

    pub fn name(&self) -> String {
        stem(&self.picture)
    }

    fn is_among(&self, learnt: &Learnt) -> bool {
        learnt.knows([self.picture_sha256.as_str(), &self.shown_sha256])
    }
}

/// All pictures of a folder, every file read and checked once.
#[derive(Debug)]
pub(super) struct Manifest {
    /// In the order in which their groups were dealt out.
    pub entries: Vec<Entry>,
    /// What is odd, but no reason to stop; each names its file.
    pub warnings: Vec<String>,
    /// SHA-256 over all files and their parts, hex.
    pub digest: String,
}

impl Manifest {
    /// Reads every file of `root`, finds each picture's mask, and splits.
    ///
    /// # Errors
    /// Every fault names its file and what to do; if there are several, they are told together.
    pub fn read(root: &Path, plan: &SplitPlan) -> Result<Self, TrainError> {
        let images = root.join("images");
        let pictures = pictures_in(&images)?;
        if pictures.is_empty() {
            let problem = "holds no pictures (PNG, JPEG or TIFF); subfolders are not looked into".into();
            return Err(TrainError::Data { path: images, problem });
        }
        let read: Vec<Result<Entry, TrainError>> = pictures.par_iter().map(|picture| read_entry(root, picture)).collect();
        let (mut entries, mut faults) = (Vec::with_capacity(read.len()), namesakes(&pictures));
        for entry in read {
            match entry {
                Ok(entry) => entries.push(entry),
                Err(fault) => faults.push(fault),
            }
        }
        match faults.len() {
            0 => {}
            1 => return Err(faults.remove(0)),
            _ => return Err(TrainError::Several(faults)),
        }
        let mut warnings = extra_masks(root, &entries)?;
        warnings.extend(mostly_crack(&entries));
        warnings.extend(all_outside(&entries));
        warnings.extend(scaled_otherwise(&entries));
        let names: Vec<String> = entries.iter().map(Entry::name).collect();
        warnings.extend(plan.strangers(&names)?);
        entries.iter_mut().zip(plan.groups(&names)?).for_each(|(entry, group)| entry.group = group);
        join_copies(&mut entries, &mut warnings);

        let grouped: Vec<(String, String)> = entries.iter().map(|e| (e.group.clone(), e.name())).collect();
        let learnt: BTreeSet<String> = entries.iter().filter(|e| e.is_among(&plan.learnt)).map(|e| e.group.clone()).collect();
        let dealt = plan.deal(&grouped, &learnt)?;
        let place: HashMap<&str, (usize, Set)> = dealt.iter().enumerate().map(|(i, (group, set))| (group.as_str(), (i, *set))).collect();
        entries.iter_mut().for_each(|e| e.set = place[e.group.as_str()].1);
        warnings.extend(much_held_back(&entries, plan));
        warnings.extend(learnt_before(&entries, plan));
        let digest = digest(&entries);
        entries.sort_by_cached_key(|e| (place[e.group.as_str()].0, e.picture.clone()));
        Ok(Self { entries, warnings, digest })
    }
}

/// Reads picture and mask whole, so that a broken file is told now and not hours later.
fn read_entry(root: &Path, picture: &Path) -> Result<Entry, TrainError> {
    // Split files, reports and verdicts tell pictures by their names.
    if picture.file_name().is_none_or(|name| name.to_str().is_none()) {
        return Err(TrainError::Data { path: picture.to_owned(), problem: "its name is not UTF-8; rename it".into() });
    }
    let mask = mask_of(root, picture)?;
    let (encoded, encoded_mask) = (Encoded::read(picture)?, Encoded::read(&mask)?);
    let (grey, truth) = decoded_pair(&encoded, &encoded_mask)?;
    let (width, height) = grey.dimensions();
    let size = [width, height].map(u32::to_le_bytes).concat();
    let shown = |values: &[u8]| hex::encode(Sha256::new().chain_update(&size).chain_update(values).finalize());
    let values: Vec<u8> = grey.as_raw().iter().flat_map(|value| value.to_le_bytes()).collect();
    let below = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
    let (shown_sha256, mask_shown) = (shown(&values), shown(truth.bits()));
    let drawn_px = truth.count();
    let all_crack = drawn_px == u64::from(width) * u64::from(height);
    let learnt = learnt_picture(picture, grey, truth)?;
    Ok(Entry {
        picture: below(picture),
        mask: below(&mask),
        picture_sha256: encoded.sha256(),
        mask_sha256: encoded_mask.sha256(),
        shown_sha256,
        mask_shown,
        size_px: (width, height),
        crack_px: learnt.truth.count(),
        drawn_px,
        all_crack,
        group: String::new(),
        set: Set::Training,
    })
}

fn extra_masks(root: &Path, entries: &[Entry]) -> Result<Vec<String>, TrainError> {
    let known: BTreeSet<&Path> = entries.iter().map(|e| e.mask.as_path()).collect();
    let folder = root.join("masks");
    let masks = if folder.is_dir() { pictures_in(&folder)? } else { Vec::new() };
    let extra = masks.iter().filter(|mask| !known.contains(mask.strip_prefix(root).unwrap_or(mask)));
    Ok(extra.map(|mask| format!("{}: a mask without a picture; it is not used", mask.display())).collect())
}

/// A fault for each picture with the name of another, both of which would have the same mask.
fn namesakes(pictures: &[PathBuf]) -> Vec<TrainError> {
    let mut first_of: HashMap<String, &PathBuf> = HashMap::new();
    let mut faults = Vec::new();
    for picture in pictures {
        let first = *first_of.entry(stem(picture)).or_insert(picture);
        if first != picture {
            let problem = format!("has the name of {}, and with it its mask; rename or remove one of them", first.display());
            faults.push(TrainError::Data { path: picture.clone(), problem });
        }
    }
    faults
}

/// What looks like masks the wrong way round.
fn mostly_crack(entries: &[Entry]) -> Option<String> {
    let inverted: Vec<String> = entries.iter().filter(|e| 2 * e.crack_px > e.all_px()).map(|e| e.mask.display().to_string()).collect();
    let problem = "more than half of this is crack; masks are white on crack, black elsewhere";
    (!inverted.is_empty()).then(|| format!("{}: {problem}", some_of(&inverted)))
}

/// Cracks of which nothing is left within the outline.
fn all_outside(entries: &[Entry]) -> Option<String> {
    let outside: Vec<String> = entries.iter().filter(|e| e.drawn_px > 0 && e.crack_px == 0).map(|e| e.mask.display().to_string()).collect();
    let problem = "all of its crack lies where the picture shows no wafer (its pixels there are 0), or on a cell's rim of 5 px: the \
                   picture counts as one without a crack";
    (!outside.is_empty()).then(|| format!("{}: {problem}", some_of(&outside)))
}

/// What is too large for a part of a cell, and no cell as the line sees it.
fn scaled_otherwise(entries: &[Entry]) -> Option<String> {
    let longer = |entry: &Entry| entry.size_px.0.max(entry.size_px.1) as usize;
    let others = entries.iter().filter(|e| 2 * longer(e) > CELL_PX && longer(e) != CELL_PX);
    let told: Vec<String> = others.map(|e| format!("{} ({} × {} px)", e.picture.display(), e.size_px.0, e.size_px.1)).collect();
    let problem = "the line scales whole cells to this on their longer side; scale these and their masks, unless they show parts of \
                   cells, as large as the line sees them";
    (!told.is_empty()).then(|| format!("{}: no {CELL_PX} px: {problem}", some_of(&told)))
}

/// A validation part that whole groups have made much larger than was asked for.
fn much_held_back(entries: &[Entry], plan: &SplitPlan) -> Option<String> {
    let (held, all) = (entries.iter().filter(|e| e.set == Set::Validation).count(), entries.len());
    let wanted = plan.wanted(all).filter(|wanted| held > 2 * wanted)?;
    Some(format!(
        "{held} of {all} pictures are held back for validation, where --validation-share asks for {wanted}: they belong together \
         (one lot, or copies of one picture); add pictures of other lots, or give a --split file"
    ))
}

/// What the network has learnt before and is validated with all the same, or that it learns nothing else.
fn learnt_before(entries: &[Entry], plan: &SplitPlan) -> Option<String> {
    let of = |set: Set| entries.iter().filter(move |e| e.set == set);
    let learnt = |set: Set| of(set).filter(|e| e.is_among(&plan.learnt)).count();
    let (learnt, validation, new) =
        (learnt(Set::Validation), of(Set::Validation).count(), of(Set::Training).count() - learnt(Set::Training));
    if learnt > 0 {
        return Some(format!(
            "the network of --init has learnt from {learnt} of the {validation} validation pictures: all figures are flattered, its \
             own, as step 0, the most; give --split with the split.csv of the training that it comes from, or pictures that are new \
             to it"
        ));
    }
    (new == 0 && plan.wanted(entries.len()).is_some()).then(|| {
        format!(
            "every picture to learn from was learnt by the network of --init before: the {validation} others are held back for \
             validation; a smaller --validation-share leaves some of them to learn from"
        )
    })
}

/// Puts copies of one picture into one group, so that none is validated with that has been learnt from. Copies with the
/// same mask do no harm then and may be many (a stored five-fold set of grey pictures has one of each): they are told in one
/// line.
fn join_copies(entries: &mut [Entry], warnings: &mut Vec<String>) {
    let mut first_of: HashMap<String, usize> = HashMap::new();
    let mut alike = Vec::new();
    for i in 0..entries.len() {
        let first = *first_of.entry(entries[i].shown_sha256.clone()).or_insert(i);
        if first == i {
            continue;
        }
        let (kept, joined) = (entries[first].group.clone(), entries[i].group.clone());
        entries.iter_mut().filter(|e| e.group == joined).for_each(|e| e.group.clone_from(&kept));
        let copy = format!("{}: a copy of {}", entries[i].picture.display(), entries[first].picture.display());
        if entries[first].mask_shown == entries[i].mask_shown {
            alike.push(copy);
        } else {
            warnings.push(format!("{copy}, and their masks differ; both are kept in the same part of the data"));
        }
    }
    if !alike.is_empty() {
        let named = some_of(&alike);
        warnings.push(format!("{named}; copies are kept in the same part of the data, each counting for itself"));
    }
}

fn digest(entries: &[Entry]) -> String {
    let mut sum = Sha256::new();
    for entry in entries {
        sum.update(entry.picture.as_os_str().as_encoded_bytes());
        sum.update(&entry.picture_sha256);
        sum.update(&entry.mask_sha256);
        sum.update([u8::from(entry.set == Set::Validation)]);
    }
    hex::encode(sum.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Grouping, HeldBack};
    use image::{GrayImage, Luma};

    /// Pictures of these names, each with a crack, and what is odd about them dealt out by `plan`.
    fn odd(names: &[String], plan: &dyn Fn(&Path) -> SplitPlan) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (i, name) in names.iter().enumerate() {
            for (part, value, from) in [("images", 100 + i as u8, 0), ("masks", 255, 4)] {
                std::fs::create_dir_all(dir.path().join(part)).unwrap();
                let image = GrayImage::from_fn(8, 6, |x, _| Luma([if x >= from { value } else { 0 }]));
                image.save(dir.path().join(part).join(name).with_extension("png")).unwrap();
            }
        }
        Manifest::read(dir.path(), &plan(dir.path())).unwrap().warnings
    }

    /// What a network has learnt from the pictures of a folder whose names begin so.
    fn learnt(root: &Path, prefix: &str) -> Learnt {
        let everything = SplitPlan { held_back: HeldBack::Everything, ..SplitPlan::share(0.5, 1) };
        let mut entries = Manifest::read(root, &everything).unwrap().entries;
        entries.retain(|entry| entry.name().starts_with(prefix));
        entries.iter_mut().for_each(|entry| entry.set = Set::Training);
        Learnt::default().and_from(&serde_json::json!({ "pictures": entries }))
    }

    #[test]
    fn lots_that_hold_back_much_more_than_was_asked_for_are_warned_of() {
        let lots = |a: usize, b: usize| -> Vec<String> {
            [vec!["a"; a], vec!["b"; b]].concat().iter().enumerate().map(|(i, l)| format!("{l}{i}")).collect()
        };
        let by_lot = |_: &Path| SplitPlan { grouping: Grouping::Pattern(regex::Regex::new("^.").unwrap()), ..SplitPlan::share(0.1, 1) };
        let told = odd(&lots(4, 6), &by_lot);
        assert!(told.len() == 1 && told[0].contains("4 of 10 pictures are held back") && told[0].contains("asks for 1"), "{told:?}");
        assert_eq!(odd(&lots(2, 8), &by_lot), Vec::<String>::new());
    }

    #[test]
    fn validating_with_what_was_learnt_before_is_warned_of_and_so_is_nothing_new_to_learn() {
        let names: Vec<String> = ["old0", "old1", "old2", "new0", "new1", "new2"].map(str::to_owned).into();
        let after =
            |known: &'static str, share: f64| move |root: &Path| SplitPlan { learnt: learnt(root, known), ..SplitPlan::share(share, 1) };
        assert_eq!(odd(&names, &after("old", 0.3)), Vec::<String>::new());
        let told = odd(&names, &after("old", 0.5));
        assert!(told.len() == 1 && told[0].contains("the 3 others are held back") && told[0].contains("--validation-share"), "{told:?}");
        let everything_known = odd(&names, &after("", 0.3));
        let split = |root: &Path| {
            let part = |name: &String| format!("{name},{}\n", if name == "new0" || name == "old0" { "validation" } else { "training" });
            let file = root.join("split.csv");
            std::fs::write(&file, names.iter().map(part).collect::<String>()).unwrap();
            SplitPlan { held_back: HeldBack::File(file), ..after("old", 0.3)(root) }
        };
        for (told, count) in [(everything_known, "2 of the 2"), (odd(&names, &split), "1 of the 2")] {
            let said = format!("has learnt from {count} validation pictures");
            assert!(told.len() == 1 && told[0].contains(&said) && told[0].contains("split.csv of the training"), "{told:?}");
        }
    }

    #[test]
    fn pictures_that_are_no_cells_by_their_size_are_warned_of_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let warned = |sizes: &[(u32, u32)]| {
            for part in ["images", "masks"] {
                let _ = std::fs::remove_dir_all(dir.path().join(part));
                std::fs::create_dir(dir.path().join(part)).unwrap();
                for (i, (width, height)) in sizes.iter().enumerate() {
                    let grey = |x| if part == "images" { 100 + i as u8 } else { 255 * u8::from(x < 9) };
                    let image = GrayImage::from_fn(*width, *height, |x, _| Luma([grey(x)]));
                    image.save(dir.path().join(part).join(format!("cell{i}.png"))).unwrap();
                }
            }
            let warnings = Manifest::read(dir.path(), &SplitPlan::share(0.5, 1)).unwrap().warnings;
            warnings.into_iter().filter(|warning| warning.contains("1344")).collect::<Vec<_>>()
        };
        assert_eq!(warned(&[(1344, 1344), (672, 1344), (448, 448), (640, 480)]), Vec::<String>::new());
        let told = warned(&[(1344, 1344), (2000, 1000), (1000, 1000)]);
        assert!(
            told.len() == 1 && told[0].starts_with("images/cell1.png (2000 × 1000 px); images/cell2.png (1000 × 1000 px): no 1344 px: "),
            "{told:?}"
        );
        let alone = warned(&[(1344, 1344), (2000, 1000)]);
        assert!(alone.len() == 1 && alone[0].starts_with("images/cell1.png (2000 × 1000 px): no 1344 px: "), "{alone:?}");
    }

    #[test]
    fn cracks_outside_the_outline_are_not_looked_for_and_told_where_nothing_else_is_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        // The two columns on the left lie outside.
        for (name, grey, crack) in [("cell0.png", 100, 0..2), ("cell1.png", 120, 1..4)] {
            for (part, value, shown) in [("images", grey, 2..8), ("masks", 255, crack)] {
                std::fs::create_dir_all(root.join(part)).unwrap();
                let image = GrayImage::from_fn(8, 6, |x, _| Luma([if shown.contains(&x) { value } else { 0 }]));
                image.save(root.join(part).join(name)).unwrap();
            }
        }
        let Manifest { mut entries, warnings, .. } = Manifest::read(root, &SplitPlan::share(0.5, 1)).unwrap();
        entries.sort_by(|a, b| a.picture.cmp(&b.picture));
        assert_eq!(entries.iter().map(|entry| entry.crack_px).collect::<Vec<_>>(), [0, 2 * 6]);
        let told: Vec<&String> = warnings.iter().filter(|warning| warning.contains("shows no wafer")).collect();
        assert!(told.len() == 1 && told[0].starts_with("masks/cell0.png: all of its crack"), "{warnings:?}");
    }
}
