// What every link and terminal rule promises, checked for any list of entries: the built-in
// registry, and a list with a rule that only a test knows. Each function reports through gtest.
#pragma once

#include "tests/outer/fixtures.h"

namespace rubato::testing {

/// Links in order, then the terminal rule.
struct ChainCase {
  std::vector<std::string> links;
  std::string rule;
  OptionMap options;
  int64_t workers = 3;
  std::string title() const;
};

/// Whether a chain of `entries` can be made of it: some links need a rule of a certain kind.
bool can_be_made(const ChainCase& chain_case, EntryList entries);
/// Every terminal of `entries` alone, every link in front of every terminal that it can stand in
/// front of.
std::vector<ChainCase> single_stage_cases(EntryList entries);
/// `count` chains of up to three links with options drawn from the entries' tables; those that the
/// chain refuses (a single-delta link behind a buffer) are left out.
std::vector<ChainCase> random_cases(EntryList entries, int count);

/// Runs all of the checks below on one chain.
void check_chain(const ChainCase& chain_case, EntryList entries);

void check_same_run_same_bits(const ChainCase& chain_case, EntryList entries);
void check_threads_do_not_matter(const ChainCase& chain_case, EntryList entries);
void check_restored_run_goes_on_to_the_same_bits(const ChainCase& chain_case, EntryList entries);
void check_delta_is_not_modified(const ChainCase& chain_case, EntryList entries);
void check_zero_delta_changes_nothing(const ChainCase& chain_case, EntryList entries);
void check_dropped_update_changes_nothing(const ChainCase& chain_case, EntryList entries);
void check_held_updates_leave_theta(const ChainCase& chain_case, EntryList entries);

/// Words are there, defaults pass their own check, unknown names, wrong kinds and values beyond
/// either end of the range are refused with the stage's name in the message.
void check_options_are_guarded(const OuterEntry& entry, EntryList entries);

}  // namespace rubato::testing
