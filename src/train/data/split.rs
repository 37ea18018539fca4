//! Which pictures are learnt from and which are validated with.

use super::told::some_of;
use super::{Learnt, Set};
use crate::train::TrainError;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// How a folder is split. Pictures of one group are never torn apart, nor are copies of one picture.
#[derive(Debug, Clone)]
pub struct SplitPlan {
    /// Which groups are held back.
    pub held_back: HeldBack,
    /// What makes a group.
    pub grouping: Grouping,
    /// Seed of the order in which groups are dealt out.
    pub seed: u64,
    /// What the network has learnt before: a share is held back of other groups, where there are any.
    pub learnt: Learnt,
}

/// Which groups are validated with.
#[derive(Debug, Clone, PartialEq)]
pub enum HeldBack {
    /// A share of the pictures, 0 to 1, as nearly as whole groups make it; at least one group, and at least one is left.
    Share(f64),
    /// Fold `fold` (from 1) of `folds`.
    Fold {
        /// Which one.
        fold: usize,
        /// How many there are, at least 2.
        folds: usize,
    },
    /// As a file says: lines of `picture,training` or `picture,validation`.
    File(PathBuf),
    /// All of them: nothing is learnt.
    Everything,
}

/// What makes pictures belong together, such as the cells of one lot.
#[derive(Debug, Clone)]
pub enum Grouping {
    /// Every picture stands for itself.
    None,
    /// What a pattern finds in the picture's name: its first group, or else all it matches.
    Pattern(Regex),
    /// As a file says: lines of `picture,group`.
    File(PathBuf),
}

impl SplitPlan {
    /// Splits by share and seed, each picture for itself.
    pub fn share(share: f64, seed: u64) -> Self {
        Self { held_back: HeldBack::Share(share), grouping: Grouping::None, seed, learnt: Learnt::default() }
    }

    /// The group of every picture, by the picture's name without extension.
    ///
    /// # Errors
    /// A groups file that cannot be read, or names that have no group.
    pub(super) fn groups(&self, names: &[String]) -> Result<Vec<String>, TrainError> {
        match &self.grouping {
            Grouping::None => Ok(names.to_vec()),
            Grouping::Pattern(pattern) => names
                .iter()
                .map(|name| {
                    let found = pattern.captures(name).and_then(|c| c.get(1).or(c.get(0)));
                    let problem =
                        || format!("the picture {name} does not match the pattern {pattern}; give one that finds every picture's lot");
                    found.map(|m| m.as_str().to_owned()).ok_or_else(|| TrainError::Setting { name: "group-by", problem: problem() })
                })
                .collect(),
            Grouping::File(path) => looked_up(path, names, "groups"),
        }
    }

    /// A warning for each file of the plan that tells of pictures that are not there.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn strangers(&self, names: &[String]) -> Result<Vec<String>, TrainError> {
        let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let mut warnings = Vec::new();
        let split = if let HeldBack::File(path) = &self.held_back { Some((path, "split")) } else { None };
        let groups = if let Grouping::File(path) = &self.grouping { Some((path, "groups")) } else { None };
        for (path, what) in [split, groups].into_iter().flatten() {
            let strangers: Vec<String> = told_in(path, &known, what)?.into_keys().filter(|name| !known.contains(name.as_str())).collect();
            if !strangers.is_empty() {
                let (count, some) = (strangers.len(), some_of(&strangers));
                warnings.push(format!("{}: {count} lines tell of pictures that are not there: {some}", path.display()));
            }
        }
        Ok(warnings)
    }

    /// How many of so many pictures are to be held back; `None` where groups are told.
    pub(super) fn wanted(&self, pictures: usize) -> Option<usize> {
        let HeldBack::Share(share) = self.held_back else { return None };
        Some(((pictures as f64 * share).round() as usize).min(pictures.saturating_sub(1)).max(1))
    }

    /// The part of every group, in the order in which groups were dealt out. `groups` tells of each picture its
    /// group and name, `learnt` the groups of pictures that were learnt before.
    ///
    /// # Errors
    /// A share or fold that is none, too few groups, or a split file that does not fit.
    pub(super) fn deal(&self, groups: &[(String, String)], learnt: &BTreeSet<String>) -> Result<Vec<(String, Set)>, TrainError> {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        groups.iter().for_each(|(group, _)| *sizes.entry(group).or_default() += 1);
        let mut order: Vec<&str> = sizes.keys().copied().collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        let setting = |name, problem: String| Err(TrainError::Setting { name, problem });
        if order.len() < 2 && !matches!(self.held_back, HeldBack::Everything) {
            let problem = match self.grouping {
                Grouping::None => {
                    "1 picture (copies count as one); at least two different ones are needed, one of them to validate with".into()
                }
                _ => format!("all pictures belong to one group ({}); at least two groups are needed", order.join("")),
            };
            return setting("data", problem);
        }
        let set = |held_back: bool| if held_back { Set::Validation } else { Set::Training };
        match &self.held_back {
            HeldBack::Everything => Ok(order.into_iter().map(|g| (g.to_owned(), Set::Validation)).collect()),
            HeldBack::Share(share) if !(*share > 0.0 && *share < 1.0) => {
                setting("validation-share", format!("{share} is no share; give one between 0 and 1, such as 0.2"))
            }
            HeldBack::Share(_) => {
                let held = made_up_of(&order, &sizes, learnt, self.wanted(groups.len()).unwrap_or_default());
                Ok(order.into_iter().map(|group| (group.to_owned(), set(held.contains(group)))).collect())
            }
            HeldBack::Fold { fold, folds } => {
                if *folds < 2 || *folds > order.len() || !(1..=*folds).contains(fold) {
                    let problem =
                        format!("fold {fold} of {folds} cannot be had of {} groups; folds are 2 to that many, counted from 1", order.len());
                    return setting("fold", problem);
                }
                Ok(order.into_iter().enumerate().map(|(i, group)| (group.to_owned(), set(i % folds == fold - 1))).collect())
            }
            HeldBack::File(path) => {
                let names: Vec<String> = groups.iter().map(|(_, name)| name.clone()).collect();
                let parts = looked_up(path, &names, "split")?;
                from_file(path, groups, &parts, &order)
            }
        }
    }
}

/// Whole groups of `wanted` pictures together: in their order those that fit, and then the smallest of the others where that comes
/// nearer, or nothing has fitted. One of `order` is left, and none that was `learnt` is taken unless all were.
fn made_up_of<'a>(order: &[&'a str], sizes: &BTreeMap<&str, usize>, learnt: &BTreeSet<String>, wanted: usize) -> BTreeSet<&'a str> {
    let new: Vec<&str> = order.iter().copied().filter(|group| !learnt.contains(*group)).collect();
    let from = if new.is_empty() { order } else { &new };
    let (mut taken, mut missing) = (BTreeSet::new(), wanted);
    for group in from {
        if sizes[group] <= missing {
            missing -= sizes[group];
            taken.insert(*group);
        }
    }
    let smallest = from.iter().filter(|group| !taken.contains(*group)).min_by_key(|group| sizes[*group]);
    if let Some(group) = smallest
        && taken.len() + 1 < order.len()
        && (taken.is_empty() || sizes[group] <= 2 * missing)
    {
        taken.insert(group);
    }
    taken
}

fn from_file(path: &Path, groups: &[(String, String)], parts: &[String], order: &[&str]) -> Result<Vec<(String, Set)>, TrainError> {
    let unfit = |problem: String| TrainError::Data { path: path.to_owned(), problem };
    let mut sets: HashMap<&str, (Set, &str)> = HashMap::new();
    for ((group, name), part) in groups.iter().zip(parts) {
        let set = match part.as_str() {
            "training" | "train" => Set::Training,
            "validation" | "val" | "valid" => Set::Validation,
            _ => return Err(unfit(format!("{name} belongs to `{part}`; write training or validation"))),
        };
        let (known, first) = *sets.entry(group).or_insert((set, name));
        if known != set {
            let problem = format!("{first} and {name} belong together (one lot, or copies of one picture) and must not be torn apart");
            return Err(unfit(problem));
        }
    }
    let dealt: Vec<(String, Set)> = order.iter().map(|group| ((*group).to_owned(), sets[group].0)).collect();
    for set in [Set::Training, Set::Validation] {
        if dealt.iter().all(|(_, s)| *s != set) {
            return Err(unfit(format!("no picture is for {set:?}; both parts need some")));
        }
    }
    Ok(dealt)
}

/// The second column of a file of two, for each of `names`; pictures may be named with or without extension.
fn looked_up(path: &Path, names: &[String], what: &str) -> Result<Vec<String>, TrainError> {
    let told = told_in(path, &names.iter().map(String::as_str).collect(), what)?;
    let missing: Vec<String> = names.iter().filter(|name| !told.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        let problem = format!("has no line for {}; add one `picture,{what}` for each", some_of(&missing));
        return Err(TrainError::Data { path: path.to_owned(), problem });
    }
    Ok(names.iter().filter_map(|name| told.get(name).cloned()).collect())
}

/// The second column of a file of two by the picture's name, as one of `known` has it where it is among these.
fn told_in(path: &Path, known: &BTreeSet<&str>, what: &str) -> Result<BTreeMap<String, String>, TrainError> {
    let unfit = |problem: String| TrainError::Data { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(TrainError::file(path, "cannot read it"))?;
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    // Spreadsheets begin a CSV with the mark of its byte order.
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let (name, value) = line.rsplit_once(',').ok_or_else(|| unfit(format!("line {number}: `{line}` is not `picture,{what}`")))?;
        let name = meant(name.trim(), known).to_owned();
        if let Some(before) = told.insert(name.clone(), value.trim().to_owned())
            && before != value.trim()
        {
            return Err(unfit(format!("line {number}: {name} is `{}` here and `{before}` above", value.trim())));
        }
    }
    Ok(told)
}

/// The picture that a line means: the one that is called so as it stands (`c00.tif.png` is called `c00.tif`), else without folder
/// and extension.
fn meant<'a>(told: &'a str, known: &BTreeSet<&str>) -> &'a str {
    let without_folder = told.rsplit(['/', '\\']).next().unwrap_or(told);
    let as_told = [told, without_folder].into_iter().find(|name| known.contains(name));
    as_told.unwrap_or_else(|| super::pictures::picture_name(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(held_back: HeldBack) -> SplitPlan {
        SplitPlan { held_back, ..SplitPlan::share(0.5, 3) }
    }

    /// What is held back, nothing being learnt before.
    fn held_of(plan: &SplitPlan, groups: &[(String, String)]) -> Vec<String> {
        held_back(&plan.deal(groups, &BTreeSet::new()).unwrap())
    }

    /// Pictures in lots of these sizes, `lot0` and so on.
    fn lots_of(sizes: &[usize]) -> Vec<(String, String)> {
        let lot =
            |(lot, size): (usize, &usize)| (0..*size).map(move |i| (format!("lot{lot}"), format!("lot{lot}-{i}"))).collect::<Vec<_>>();
        sizes.iter().enumerate().flat_map(lot).collect()
    }

    fn lots() -> Vec<(String, String)> {
        lots_of(&[3; 3])
    }

    fn held_back(dealt: &[(String, Set)]) -> Vec<String> {
        dealt.iter().filter(|(_, set)| *set == Set::Validation).map(|(group, _)| group.clone()).collect()
    }

    #[test]
    fn a_share_holds_back_whole_groups_and_leaves_some() {
        for share in [0.01, 0.3, 0.99] {
            let dealt = plan(HeldBack::Share(share)).deal(&lots(), &BTreeSet::new()).unwrap();
            let held = held_back(&dealt).len();
            assert_eq!((dealt.len(), held), (3, if share > 0.5 { 2 } else { 1 }), "{share}");
        }
    }

    #[test]
    fn lots_that_are_much_larger_than_the_share_are_passed_over_whatever_the_seed() {
        let pictures = |sizes: &[usize], held: &[String]| held.iter().map(|lot| sizes[lot[3..].parse::<usize>().unwrap()]).sum::<usize>();
        for (sizes, share, nearest) in
            [(&[8, 2][..], 0.2, 2), (&[8, 2], 0.5, 2), (&[3; 10], 0.25, 9), (&[3; 10], 0.2, 6), (&[9, 11], 0.01, 9)]
        {
            for seed in 0..20 {
                let held = held_of(&SplitPlan::share(share, seed), &lots_of(sizes));
                assert_eq!(pictures(sizes, &held), nearest, "{share} of {sizes:?}, seed {seed}: {held:?}");
            }
        }
    }

    #[test]
    fn what_was_learnt_before_is_learnt_again_and_the_share_held_back_of_the_rest() {
        let learnt = |lots: &[usize]| -> BTreeSet<String> { lots.iter().map(|lot| format!("lot{lot}")).collect() };
        for seed in 0..20 {
            let held = |share: f64, lots: &[usize]| {
                held_back(&SplitPlan::share(share, seed).deal(&lots_of(&[1; 10]), &learnt(lots)).unwrap())
                    .into_iter()
                    .collect::<BTreeSet<_>>()
            };
            let some = held(0.3, &[0, 1, 2, 3, 4]);
            assert!(some.len() == 3 && some.is_disjoint(&learnt(&[0, 1, 2, 3, 4])), "{some:?}");
            // Of the whole, as in the training before: where nothing is new, the same are validated with, whatever the seed.
            assert_eq!(held(0.2, &[0, 1, 2, 3, 4, 5, 6, 7]), learnt(&[8, 9]));
            assert_eq!(held(0.5, &[0, 1, 2, 3, 4, 5, 6, 7]), learnt(&[8, 9]));
            assert_eq!(held(0.2, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).len(), 2, "it must be validated with something");
        }
    }

    #[test]
    fn every_group_is_held_back_in_exactly_one_fold() {
        let mut all: Vec<String> = (1..=3).flat_map(|fold| held_of(&plan(HeldBack::Fold { fold, folds: 3 }), &lots())).collect();
        all.sort();
        assert_eq!(all, ["lot0", "lot1", "lot2"]);
        for (fold, folds) in [(0, 3), (4, 3), (1, 4), (1, 1)] {
            let error = plan(HeldBack::Fold { fold, folds }).deal(&lots(), &BTreeSet::new()).unwrap_err().to_string();
            assert!(error.starts_with("fold"), "{error}");
        }
    }

    #[test]
    fn patterns_find_lots_in_names() {
        let names = ["A17-0001".to_owned(), "A17-0002".into(), "B3-0001".into()];
        let by = |pattern: &str| SplitPlan { grouping: Grouping::Pattern(Regex::new(pattern).unwrap()), ..plan(HeldBack::Share(0.5)) };
        assert_eq!(by("^([A-Z][0-9]+)-").groups(&names).unwrap(), ["A17", "A17", "B3"]);
        let error = by("^A").groups(&names).unwrap_err().to_string();
        assert!(error.contains("B3-0001") && error.contains("group-by"), "{error}");
    }

    #[test]
    fn a_split_file_is_followed_and_its_faults_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("split.csv");
        let names: Vec<(String, String)> = ["a", "b,c", "d"].map(|n| (n.to_owned(), n.to_owned())).into();
        let deal = |text: &str, groups: &[(String, String)]| {
            std::fs::write(&path, text).unwrap();
            plan(HeldBack::File(path.clone())).deal(groups, &BTreeSet::new())
        };
        assert_eq!(held_back(&deal("\u{feff}a.png,training\nb,c.jpg, validation\n\nd,training", &names).unwrap()), ["b,c"]);
        let fault = |text: &str, groups: &[(String, String)]| deal(text, groups).unwrap_err().to_string();
        for (text, word) in [
            ("a,training\nd,training", "no line for b,c"),
            ("a,training\nb,c,test\nd,training", "`test`"),
            ("a,training\nb,c,training\nd,training", "Validation"),
            ("a,training\na,validation\nb,c,training\nd,training", "line 2"),
        ] {
            let error = fault(text, &names);
            assert!(error.contains(word) && error.contains("split.csv"), "{error}");
        }
        let torn = fault(
            "cell0,training\ncell1,validation",
            &[("lot".to_owned(), "cell0".to_owned()), ("lot".into(), "cell1".into()), ("x".into(), "cell0".into())],
        );
        assert!(torn.contains("cell0 and cell1"), "{torn}");
    }

    #[test]
    fn names_that_end_like_files_are_looked_up_as_they_are_told_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("split.csv");
        let names: Vec<String> = ["c00.tif", "c00", "a\\b", "d"].map(str::to_owned).into();
        std::fs::write(&path, "c00.tif,1\nc00,2\na\\b,3\nimages/d.png,4\nstray.png,5\n").unwrap();
        assert_eq!(looked_up(&path, &names, "group").unwrap(), ["1", "2", "3", "4"]);
        let of_file = SplitPlan { grouping: Grouping::File(path), ..plan(HeldBack::Share(0.5)) };
        let strangers = of_file.strangers(&names).unwrap();
        assert!(
            matches!(strangers.as_slice(), [one] if one.ends_with("1 lines tell of pictures that are not there: stray")),
            "{strangers:?}"
        );
    }
}
