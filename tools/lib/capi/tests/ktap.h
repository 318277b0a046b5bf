/* SPDX-License-Identifier: GPL-2.0 */
/* Results of a test program as KTAP lines. */
#ifndef KTAP_H
#define KTAP_H

#include <stdio.h>

static int ktap_count, ktap_failed;

/* One statement; the words say what holds. */
static void check_at(int good, const char *words, int line)
{
	printf("%s %d %s\n", good ? "ok" : "not ok", ++ktap_count, words);
	if (!good) {
		printf("# line %d\n", line);
		ktap_failed++;
	}
	fflush(stdout);
}

#define check(good, words) check_at(good, words, __LINE__)

static void begin(void)
{
	printf("KTAP version 1\n");
}

/* The plan comes last; the exit code is the result. */
static int end(void)
{
	printf("1..%d\n", ktap_count);
	return ktap_failed != 0;
}

#endif /* KTAP_H */
