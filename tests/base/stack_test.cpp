#include "base/stack.h"

#include <gmock/gmock.h>

#include <csignal>
#include <stdexcept>
#include <vector>

namespace accordion {

namespace {

/// Not inlined, so that they are there. No other file sees them, as most functions of the program.
[[gnu::noipa]] int the_one_that_throws(const std::vector<int>& values) { return values.at(7); }
[[gnu::noipa]] int the_one_that_calls(const std::vector<int>& values) { return the_one_that_throws(values) + 1; }

TEST(Stack, NamesTheFunctionsOfTheLastThrow) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer sees exceptions in our place";
#endif
  EXPECT_THROW(the_one_that_calls({1, 2}), std::out_of_range);
  const auto stack = stack_of_last_throw();
  size_t before = 0;
  for (const char* name : {"the_one_that_throws", "the_one_that_calls", "testing::Test::Run"}) {
    const auto place = stack.find(name);
    ASSERT_NE(place, std::string::npos) << name << " is missing in\n" << stack;
    EXPECT_LT(before, place) << stack;
    before = place;
  }
}

TEST(StackDeathTest, ACrashNamesTheFunctionsUnderWay) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        print_stack_of_crashes();
        std::raise(SIGSEGV);
      },
      testing::KilledBySignal(SIGSEGV), "internal error: Segmentation fault\n(.*\n)*.*testing.*Run(.*\n)*.*report it");
}

}  // namespace
}  // namespace accordion
