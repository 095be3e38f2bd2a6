#include "base/stack.h"

#include <gmock/gmock.h>

#include <csignal>
#include <stdexcept>
#include <vector>

namespace accordion {

/// Not inlined and not hidden, so that they have names.
[[gnu::noinline]] int the_one_that_throws(const std::vector<int>& values) { return values.at(7); }
[[gnu::noinline]] int the_one_that_calls(const std::vector<int>& values) { return the_one_that_throws(values) + 1; }

namespace {

TEST(Stack, NamesTheFunctionsOfTheLastThrow) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer sees exceptions in our place";
#endif
  EXPECT_THROW(the_one_that_calls({1, 2}), std::out_of_range);
  // The compiler keeps what a function does as it throws in a part of its own that has no name.
  const auto stack = stack_of_last_throw();
  const auto inner = stack.find("accordion::the_one_that_calls"), outer = stack.find("testing::Test::Run");
  EXPECT_NE(inner, std::string::npos) << stack;
  EXPECT_NE(outer, std::string::npos) << stack;
  EXPECT_LT(inner, outer);
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
