'use strict';

sections.games = (root, data) => {
};
