"""The portal in a real browser, driven as people drive it: what they read finds the way; Tab, Enter and Space do the rest.

In: a running network with its portal. Out: the story of `hce tour --browser`, step by step, each with a picture; and the hands and
screens that the journeys in `tests/journeys` use too, so that there is one way to drive the portal. Chromium and Playwright are tools of
development: without them every entrance here raises a named error. Never: a mouse, a step that reads what the page does not show, a key
or a word kept.
"""
