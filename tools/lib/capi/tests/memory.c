// SPDX-License-Identifier: GPL-2.0
/* The data path of <skiff.h> on memory of this process, and errors that need no device. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <skiff.h>

#include "ktap.h"

#define LEN 4096

static unsigned char model[LEN], seen[LEN + 1];

/* Whether all of the map is as the model says. */
static int same(const struct skiff_map *map)
{
	for (size_t i = 0; i < LEN; i++)
		if (skiff_load8(map, i) != model[i])
			return 0;
	return 1;
}

static void words(const struct skiff_map *map)
{
	uint64_t word = 0x1122334455667788;

	skiff_store64(map, 64, word);
	memcpy(model + 64, &word, sizeof(word));
	check(skiff_load64(map, 64) == word, "a 64-bit word comes back");
	check(skiff_load32(map, 68) == 0x11223344, "a 32-bit word is its upper half");
	check(skiff_load16(map, 64) == 0x7788, "a 16-bit word is its lowest quarter");
	skiff_store32(map, 4, 0xa1a2a3a4);
	skiff_store16(map, 2, 0xb1b2);
	skiff_store8(map, 1, 0xc1);
	memcpy(model + 1, "\xc1\xb2\xb1\xa4\xa3\xa2\xa1", 7);
	check(same(map), "words change nothing beside them");
}

static void copies(const struct skiff_map *map)
{
	static const size_t lengths[] = { 0, 1, 3, 7, 8, 9, 63, 64, 65, 127, 128, 130, 200, 1000 };
	int written = 1, read = 1;

	for (size_t offset = 0; offset < 130; offset += 3) {
		for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
			size_t n = lengths[i];
			unsigned char from[1000];

			for (size_t k = 0; k < n; k++)
				from[k] = (unsigned char)rand();
			written &= skiff_write(map, offset, from, n) == 0;
			memcpy(model + offset, from, n);
			written &= same(map);
			memset(seen, 0xaa, sizeof(seen));
			read &= skiff_read(map, offset, seen, n) == 0;
			read &= !memcmp(seen, from, n) && seen[n] == 0xaa;
		}
	}
	skiff_flush();
	check(written, "a write changes its range only");
	check(read, "a read gives what is there, and no more");
	check(skiff_write(map, LEN - 3, model, 4) == -EINVAL, "a write that leads out is refused");
	check(skiff_read(map, LEN + 1, seen, 0) == -EINVAL, "a read that leads out is refused");
	check(skiff_read(map, 8, seen, (size_t)-1) == -EINVAL, "a length that overflows is refused");
	check(same(map), "what is refused changes nothing");
}

static void errors(void)
{
	struct skiff_map map = { 0, 0, 0, 0 };
	struct skiff_event event;
	int ends[2];

	check(!*skiff_error() && !*skiff_mend(), "there is no error before the first");
	check(skiff_command(-1, SKIFF_IOC_INFO, NULL) == -EBADF, "a bad descriptor is EBADF");
	check(strstr(skiff_error(), "not open") != NULL, "and that is said in words");
	check(skiff_unmap(&map) == -EINVAL, "what is not mapped cannot be unmapped");
	check(skiff_map(0, 0, 8, 2, &map) == -EINVAL, "an unknown flag of a map is refused");
	if (pipe(ends)) {
		check(0, "there is a pipe");
		return;
	}
	check(skiff_remove(ends[0], 0) == -ENOTTY, "a pipe is no segment");
	check(!strcmp(skiff_error(),
		      "cannot remove the segment: the descriptor is none of that kind (ENOTTY)"),
	      "attempt, cause and errno are named");
	check(skiff_next_event(ends[0], 0, &event) == 0, "no event comes out of an empty pipe");
	close(ends[1]);
	check(skiff_next_event(ends[0], -1, &event) == -ECONNRESET, "nor out of a closed one");
	close(ends[0]);
}

int main(void)
{
	struct skiff_map map = { NULL, LEN, NULL, LEN };
	void *memory = aligned_alloc(4096, LEN);

	begin();
	errors();
	if (!memory) {
		check(0, "there is memory");
		return end();
	}
	memset(memory, 0, LEN);
	map.address = (volatile unsigned char *)memory;
	words(&map);
	copies(&map);
	free(memory);
	return end();
}
