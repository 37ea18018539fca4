mod draw;
mod length;
mod recipe;
mod verdict;
