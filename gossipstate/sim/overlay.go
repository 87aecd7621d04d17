package sim

import (
	"math/rand/v2"
	"slices"
)

// overlay is a random connected graph in which each of n nodes has degree links, as pairs: a union of random circles
// through all nodes, and of a random matching for an odd degree. A node may lack a link where n or chance does not allow it.
func overlay(n, degree int, rng *rand.Rand) [][2]int {
	g := &graph{linked: map[[2]int]bool{}}
	if degree >= n-1 {
		for a := range n {
			for b := a + 1; b < n; b++ {
				g.add(a, b)
			}
		}
		return g.pairs
	}
	for range degree / 2 {
		circle := g.circle(n, rng)
		for i := range circle {
			g.add(circle[i], circle[(i+1)%n])
		}
	}
	if degree%2 == 1 {
		g.match(rng.Perm(n))
	}
	return g.pairs
}

type graph struct {
	pairs  [][2]int
	linked map[[2]int]bool
}

func (g *graph) has(a, b int) bool { return a == b || g.linked[[2]int{min(a, b), max(a, b)}] }

func (g *graph) add(a, b int) {
	if !g.has(a, b) {
		g.linked[[2]int{min(a, b), max(a, b)}] = true
		g.pairs = append(g.pairs, [2]int{min(a, b), max(a, b)})
	}
}

// circle is a random order of the nodes in which, if a few tries allow it, no neighbours are linked already. A step that is
// taken already is mended by turning a random stretch around.
func (g *graph) circle(n int, rng *rand.Rand) []int {
	c := rng.Perm(n)
	for try := 0; try < 100*n; try++ {
		i := 0
		for i < n-1 && !g.has(c[i], c[i+1]) {
			i++
		}
		if i == n-1 {
			if !g.has(c[n-1], c[0]) {
				return c
			}
			c = append(c[1:], c[0]) // bring the last step inside
			continue
		}
		j := rng.IntN(n - 1)
		if i > j {
			i, j = j, i
		}
		if i != j && !g.has(c[i], c[j]) && !g.has(c[i+1], c[j+1]) {
			slices.Reverse(c[i+1 : j+1])
		}
	}
	return c
}

// match links nodes in the order given, each with the next free one that it is not linked to.
func (g *graph) match(order []int) {
	for len(order) > 1 {
		a := order[0]
		order = order[1:]
		if i := slices.IndexFunc(order, func(b int) bool { return !g.has(a, b) }); i >= 0 {
			g.add(a, order[i])
			order = slices.Delete(order, i, i+1)
		}
	}
}
