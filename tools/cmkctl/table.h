// Tables and lists of facts as aligned text. Pure: text in, text out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cmkd::tools {

enum class Tone { kPlain, kGood, kCaution, kBad, kFaint, kStrong };

struct Cell {
  std::string text;
  Tone tone = Tone::kPlain;
  Cell(std::string t, Tone tone_of_it = Tone::kPlain) : text(std::move(t)), tone(tone_of_it) {}  // NOLINT
  Cell(const char* t) : text(t) {}                                                               // NOLINT
};

struct Column {
  std::string title;
  bool right = false;  // numbers
};

// Columns that a terminal needs for the text: wide characters take two, combining ones none.
std::size_t DisplayWidth(std::string_view text);

// The text without what a terminal would obey: control characters and broken UTF-8 become "?". Labels and descriptions
// are the choice of other people.
std::string Harmless(std::string_view text);

// The text between the codes for the tone; unchanged for kPlain or without colour.
std::string Painted(std::string_view text, Tone tone, bool colour);

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as there are columns; an empty one is shown as "-".
  void Add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  // Titles and rows, each line with its end; two blanks between columns, none at the end of a line.
  std::string Print(bool colour) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// Lines of "name  value", values aligned. Facts without a value are left out.
class Facts {
 public:
  void Add(std::string name, Cell value) { rows_.emplace_back(std::move(name), std::move(value)); }
  std::string Print(bool colour, std::string_view indent = "") const;

 private:
  std::vector<std::pair<std::string, Cell>> rows_;
};

}  // namespace cmkd::tools
