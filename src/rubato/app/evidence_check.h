// Whether a row comes out again, bit for bit: one cheap row is run anew and compared.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rubato/app/evidence.h"

namespace rubato {

/// Rows that took longer than this are not for a test to repeat.
inline constexpr double kCheapWall_s = 30;

/// A row of an experiment with the recipe that makes it.
struct CheckableRow {
  EvidenceRow row;
  Recipe recipe;
};

/// The cheap rows of an experiment that are there as their own recipe made them.
StatusOr<std::vector<CheckableRow>> checkable_rows(const Experiment& experiment,
                                                   const TunedSteps& tuned,
                                                   const EvidenceBook& book);

/// `which` is a row's number, or a commit's hash of at least seven hexadecimal digits, whose first
/// fifteen choose by their remainder. InvalidArgument for anything else, NotFound without rows.
StatusOr<size_t> choose_row(std::string_view which, size_t count);

/// Runs the row again and says what came, in one line. On the row's own type of processor the
/// parameters must have the same digest and the loss the same bits; on another one the loss may
/// differ by kOtherProcessorSlackNats. DataLoss when they do not.
StatusOr<std::string> check_row(const CheckableRow& checked, std::string_view processor,
                                EvidenceRunner& runner);
inline constexpr double kOtherProcessorSlackNats = 0.02;

}  // namespace rubato
